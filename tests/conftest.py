"""Of all tests: libraries compute as in jobs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))  # vLLM's environment does not have the library
import selfdistill  # noqa: F401 (holds them, before a test imports numpy)
