"""Grading: the answer in a response, and whether it equals the correct one."""
