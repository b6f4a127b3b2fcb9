"""How many tokens have been drawn: engines count them as they go, `generate` shows them before a shard is done."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from tqdm import tqdm

SECONDS = 2.0  # between two looks at the tokens
SLOTS = 1024  # of the counter; a process has one of its own, so that none waits for a lock that a killed one held

_counter: Any = None  # of this process and of those that sample for it


def count(tokens: int) -> None:
    """So many more tokens were drawn."""
    if _counter is not None:
        _counter[os.getpid() % SLOTS] += tokens


def count_in(counter: Any) -> None:
    """Let this process count in ``counter``."""
    global _counter
    _counter = counter


@cache
def shared_counter() -> Any:
    """The counter of this process, for the processes that sample for it as well."""
    counter = multiprocessing.get_context("spawn").RawArray("q", SLOTS)
    count_in(counter)
    return counter


class Bar:
    """Progress in tokens: a finished response counts as its longest, so that all of them make the whole."""

    def __init__(self, what: str, responses: int, longest: int):
        self.responses, self.longest = responses, longest
        self.done = self.tokens = 0  # of finished shards: responses, and tokens in them
        self.before = sum(shared_counter())
        self.bar = tqdm(total=responses * longest, desc=what, unit=" tokens", unit_scale=True, mininterval=SECONDS)

    def finished(self, responses: int, tokens: int) -> None:
        """A shard is done."""
        self.done += responses
        self.tokens += tokens
        self.show()

    def show(self) -> None:
        """Update the bar to the tokens sampled so far."""
        drawn = max(sum(shared_counter()) - self.before, self.tokens)
        running = min(drawn - self.tokens, (self.responses - self.done) * self.longest)
        self.bar.n = self.done * self.longest + running
        elapsed = max(self.bar.format_dict["elapsed"], 1e-9)
        told = f"{self.done} of {self.responses} responses, {drawn:,} tokens drawn, {drawn / elapsed:.0f} tokens/s"
        self.bar.set_postfix_str(told, refresh=False)
        self.bar.update(0)


@contextmanager
def shown(what: str, responses: int, longest: int) -> Iterator[Bar]:
    """A `Bar` that is looked at every few seconds until the end."""
    bar, over = Bar(what, responses, longest), threading.Event()

    def look() -> None:
        while not over.wait(SECONDS):
            bar.show()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield bar
    finally:
        over.set()
        thread.join()
        bar.bar.refresh()
        bar.bar.close()
