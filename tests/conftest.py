"""Of all tests: libraries compute as in jobs."""

import gc
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))  # vLLM's environment does not have the library
import pytest
import selfdistill  # noqa: F401 (holds them, before a test imports numpy)

gc.disable()  # while tests are collected: what they import stays


def pytest_collection_finish() -> None:
    """What is imported by now is never looked through: every training ends with a look for garbage."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def of_all_workers(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that the workers of one call share."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent
