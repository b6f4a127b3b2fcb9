"""Answer extraction and equivalence: one grader for rewards and evaluation, bounded on hostile text.

Cheap exact comparisons come first. A worker process with algebra decides the rest; it is ended when an answer takes
more than `LIMIT_SECONDS`. Only the extracted answer is ever read as mathematics: on a whole text math-verify would
evaluate any expression that it sees.
"""

import atexit
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from tqdm import tqdm

from selfdistill.code_digest import PACKAGE_ROOT
from selfdistill.grading.equivalence import compare
from selfdistill.grading.worker import main as work
from selfdistill.prompts import split_thinking

LIMIT_SECONDS = 3.0  # of processor time for one pair of answers

# In TeX the argument of \boxed may have no braces. A command whose name only begins with "boxed" is another one.
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])(?:\s*(?=\{)|[ \t]*)")


# --- extraction -----------------------------------------------------------------------------------------------------
def extract_answer(text: str, *, opened: bool = False) -> str | None:
    """The content of the last box outside thinking; None when there is no box, or the last is empty or never closed.

    ``opened``: the prompt already opened ``<think>``, so the text begins inside thinking.
    """
    visible = split_thinking(text, opened=opened)[1]
    boxes = list(_BOX.finditer(visible))
    if not boxes:
        return None
    rest = visible[boxes[-1].end() :]
    content = _braced(rest) if rest.startswith("{") else _bare(rest)
    return content.strip() or None if content is not None else None


def tagged_answer(text: str, *, opened: bool = False) -> str | None:
    """What stands between the last ``<answer>`` outside thinking and its ``</answer>``; None without, or if empty.

    SDPO's format for multiple choice (its verl/utils/reward_score/feedback/mcq.py, which also takes an answer that is
    never closed). ``opened`` as in `extract_answer`.
    """
    visible = split_thinking(text, opened=opened)[1]
    answer, closed, _ = visible.rpartition("<answer>")[2].partition("</answer>")
    return answer.strip() or None if closed and "<answer>" in visible else None


def _braced(text: str) -> str | None:
    """The content of the group that opens at the start of ``text``; None when it never closes."""
    depth = 0
    for token in re.finditer(r"\\.|[{}]", text, re.DOTALL):  # an escaped brace is text
        depth += {"{": 1, "}": -1}.get(token.group(), 0)
        if depth == 0 and token.group() == "}":
            return text[1 : token.start()]
    return None


def _bare(text: str) -> str:
    r"""The word behind a ``\boxed`` without braces."""
    return re.match(r"[^\s$]*", text).group().rstrip(".,")


# --- equivalence ----------------------------------------------------------------------------------------------------
def is_equivalent(answer: str | None, gold: str) -> bool:
    """Whether ``answer`` means the same as ``gold``; None never does.

    No answer raises. One that hangs or breaks the symbolic library is wrong. `RuntimeError` when no worker starts.
    """
    decided = _by_rules(answer, gold)
    return _by_algebra(answer, gold) if decided is None else decided


def grade_many(pairs: Iterable[tuple[str | None, str]], workers: int = 1) -> list[bool]:
    """`is_equivalent` of every (answer, gold) pair, in order; equal pairs are graded once, ``workers`` at a time."""
    listed = list(pairs)
    verdicts = {pair: _by_rules(*pair) for pair in dict.fromkeys(listed)}
    undecided = [pair for pair, verdict in verdicts.items() if verdict is None]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        graded = pool.map(lambda pair: _by_algebra(*pair), undecided)
        shown = tqdm(graded, desc="grading", total=len(undecided), unit="answer", delay=2)
        verdicts.update(zip(undecided, shown, strict=True))
    return [verdicts[pair] for pair in listed]


def _by_rules(answer: str | None, gold: str) -> bool | None:
    """The verdict of the cheap comparisons; None if they cannot decide."""
    if answer is None:
        return False
    try:
        return compare(answer, gold, leaf=lambda *_: None)
    except RecursionError:  # nested more deeply than any real answer; a worker has the whole stack
        return None


@lru_cache(maxsize=2**16)  # training repeats problems; answers here have at most `LONGEST` characters
def _by_algebra(answer: str, gold: str) -> bool:
    with _borrowed_worker() as worker:
        return worker.verdict(answer, gold)


# --- algebra, in a process of its own -------------------------------------------------------------------------------
class Worker:
    """A process of `grading.worker`, started by the first question."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def verdict(self, answer: str, gold: str) -> bool:
        """The worker's verdict; False for a pair that exceeds the time limit, or that kills it twice."""
        for _ in range(2):
            reply = self._ask(json.dumps([answer, gold]))
            if reply in ("true", "false"):
                return reply == "true"
            if not reply:
                self.close()  # the whole process is gone: the next question starts another
        return False

    def _ask(self, question: str) -> str:
        """One line in, one line out; empty when the process is gone."""
        process = self._process = self._process or _start()
        try:
            process.stdin.write(question + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()
        except OSError:
            return ""
        except BaseException:  # an interrupted question must not be answered to the next
            self.close()
            raise

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)


def _start() -> subprocess.Popen[str]:
    module = work.__module__
    paths = [str(PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, str(LIMIT_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # a process group of its own, to be ended as one
        # Hashes are fixed so that the order in which sets are walked is the same in every run.
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONHASHSEED": "0"},
    )
    if process.stdout.readline().strip() != "ready":
        _end(process)
        raise RuntimeError(f"the grading worker does not start; to see why: echo | {sys.executable} -m {module} 3")
    return process


def _end(process: subprocess.Popen[str]) -> None:
    """End the process and its child. It stops by itself at the end of its input, unless it is busy."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=1)
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


_workers: list[Worker] = []  # all
_idle: list[Worker] = []
_lock = threading.Lock()


@contextlib.contextmanager
def _borrowed_worker() -> Iterator[Worker]:
    """A worker that no other thread is using."""
    with _lock:
        if not _idle:
            _workers.append(Worker())
            _idle.append(_workers[-1])
        worker = _idle.pop()
    try:
        yield worker
    finally:
        with _lock:
            _idle.append(worker)


@atexit.register
def close() -> None:
    """End all workers and forget all verdicts; the next question starts anew."""
    for worker in _workers:
        worker.close()
    _by_algebra.cache_clear()


def _forget_workers() -> None:
    """In a forked child: the workers, and the thread that may hold the lock, belong to the parent."""
    global _lock
    _lock = threading.Lock()
    _workers.clear()
    _idle.clear()


os.register_at_fork(after_in_child=_forget_workers)
