"""What unit tests in several files, and workers, make once."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock
from kernel_digests import OTHER_PROCESSOR, SAMPLE, TRAIN, Compiled, compiled_here, compiled_once, kernels_for_copies
from numba.core.dispatcher import Dispatcher
from selfdistill import environment
from tiny import save_tiny_model

# No test is about how fast this machine is.
hypothesis.settings.register_profile("unhurried", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="module", autouse=True)
def own_search_path() -> Iterator[None]:
    """A workflow that is read in this process puts its library first: not for the tests of the next file."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a tiny model, for a file that has no other of its own."""
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model, as teacher."""
    return save_tiny_model(tmp_path_factory.mktemp("other"), seed=5)


@pytest.fixture
def upgrade(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Called with the name of a package, it is as if another version of it were installed from then on."""

    def upgraded(package: str) -> None:
        before = environment._version
        monkeypatch.setattr(environment, "_version", lambda name: "0" if name == package else before(name))

    return upgraded


@pytest.fixture(scope="session", autouse=True)
def one_at_a_time(of_all_workers: Path) -> Iterator[None]:
    """Of two workers that want a kernel at the same time, the second one waits, and finds it in the cache."""
    lock, compile_alone = FileLock(of_all_workers / "kernels.lock"), Dispatcher.compile

    def compile_once(kernel: Dispatcher, signature: object) -> object:
        kernels_for_copies()
        with lock:
            return compile_alone(kernel, signature)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dispatcher, "compile", compile_once)
        yield


@pytest.fixture(scope="session")
def here(of_all_workers: Path) -> Compiled:
    """The kernels of sampling and training, compiled for this processor, those of training by an earlier process."""
    return compiled_here(of_all_workers / "here")


@pytest.fixture(scope="session")
def elsewhere(of_all_workers: Path) -> Compiled:
    """The same, compiled in one process for another processor."""
    return compiled_once(of_all_workers / "elsewhere", (SAMPLE, TRAIN), **OTHER_PROCESSOR)
