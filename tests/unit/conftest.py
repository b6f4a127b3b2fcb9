"""What unit tests in several files, and workers, make once."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from kernel_digests import OTHER_PROCESSOR, SAMPLE, TRAIN, Elsewhere, digests


@pytest.fixture(scope="module", autouse=True)
def own_search_path() -> Iterator[None]:
    """A workflow that is read in this process puts its library first: not for the tests of the next file."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Elsewhere:
    """The kernels of sampling and training, compiled in one process; tests must not change them."""
    place = tmp_path_factory.getbasetemp()
    cache = (place if worker_id == "master" else place.parent) / "elsewhere"
    found = Path(f"{cache}.digests")
    with FileLock(f"{cache}.lock"):
        if not found.exists():
            found.write_text("\n".join(digests(cache, SAMPLE, TRAIN, **OTHER_PROCESSOR)))
    return Elsewhere(cache, found.read_text().splitlines())
