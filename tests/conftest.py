"""Of all tests: libraries compute as in jobs, and the folder tests/vllm does not pass for vLLM."""

import sys
from pathlib import Path

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))  # vLLM's environment does not have the library
import selfdistill  # noqa: F401 (holds them, before a test imports numpy)

sys.path.remove(str(Path(__file__).parent))  # pytest puts the folder of a conftest there
