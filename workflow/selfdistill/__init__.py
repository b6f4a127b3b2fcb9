"""Reproduction package for Kim et al. 2026, arXiv 2603.24472."""
