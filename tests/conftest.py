"""Of all tests: libraries compute as in jobs."""

import selfdistill  # noqa: F401 (holds them, before a test imports numpy)
