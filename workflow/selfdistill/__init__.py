"""Reproduction package for Kim et al. 2026, arXiv 2603.24472."""

from selfdistill.environment import hold

hold()  # before numpy and torch are imported, which choose their code by it
