"""When each job ends, on so many cores, GPUs or cluster jobs: list scheduling over the graph."""

import heapq
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A job as the schedule sees it: its duration in seconds, what it holds meanwhile, and the tasks it waits for."""

    seconds: float
    needs: Set[int]
    holds: Mapping[str, int]


def end_times(tasks: Mapping[int, Task], capacity: Mapping[str, int]) -> dict[int, float]:
    """Seconds from the start at which each task ends; tasks outside ``tasks`` that one waits for count as done.

    A task starts as soon as what it needs is there and its share of ``capacity`` is free; of several, the one that
    became ready first, then the one that stands first in ``tasks``. A smaller task may pass one that does not fit. One
    that asks for more than there is gets all there is, as Snakemake scales threads down.
    """
    place = {name: number for number, name in enumerate(tasks)}
    waiting = {name: set(task.needs & tasks.keys()) for name, task in tasks.items()}
    followers: dict[int, list[int]] = {name: [] for name in tasks}
    for name, needs in waiting.items():
        for need in needs:
            followers[need].append(name)
    holds = {name: {r: min(n, capacity[r]) for r, n in task.holds.items()} for name, task in tasks.items()}
    free = dict(capacity)
    ready = sorted((0.0, place[name], name) for name, needs in waiting.items() if not needs)
    running: list[tuple[float, int, int]] = []
    ends: dict[int, float] = {}
    now = 0.0
    while ready or running:
        ready = _start(ready, tasks, holds, free, running, now)
        now, _, done = heapq.heappop(running)
        ends[done] = now
        _give_back(holds[done], free)
        for name in followers[done]:
            waiting[name].discard(done)
            if not waiting[name]:
                ready.append((now, place[name], name))
        ready.sort()
    return ends


def _start(
    ready: Iterable[tuple[float, int, int]],
    tasks: Mapping[int, Task],
    holds: Mapping[int, Mapping[str, int]],
    free: dict[str, int],
    running: list[tuple[float, int, int]],
    now: float,
) -> list[tuple[float, int, int]]:
    """Start the ready tasks that fit; return the others."""
    left = []
    for entry in ready:
        name = entry[2]
        if all(free[resource] >= number for resource, number in holds[name].items()):
            for resource, number in holds[name].items():
                free[resource] -= number
            heapq.heappush(running, (now + tasks[name].seconds, entry[1], name))
        else:
            left.append(entry)
    return left


def _give_back(held: Mapping[str, int], free: dict[str, int]) -> None:
    for resource, number in held.items():
        free[resource] += number
