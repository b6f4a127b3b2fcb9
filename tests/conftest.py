"""Of all tests: libraries compute as in jobs, and the folder tests/vllm does not pass for vLLM."""

import sys
from pathlib import Path

import selfdistill  # noqa: F401 (holds them, before a test imports numpy)

sys.path.remove(str(Path(__file__).parent))  # pytest puts the folder of a conftest there
