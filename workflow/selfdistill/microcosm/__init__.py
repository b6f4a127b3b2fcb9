"""A small world in which the paper's experiments can be run on a CPU (docs/microcosm.md)."""
