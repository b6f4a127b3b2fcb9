"""`selfdistill explain`: why each pending job is run, what it costs, and what hangs on it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from selfdistill.planning import waiting
from selfdistill.planning.causes import in_words
from selfdistill.planning.dag import Graph, Job
from selfdistill.planning.plan import Plan
from selfdistill.planning.text import wrapped

NAMED = 3  # jobs of a group that are named


def lines(plan: Plan, targets: Sequence[str]) -> Iterator[str]:
    """One entry per group of pending jobs with one rule and one cause; only those that ``targets`` need, if any."""
    wanted = plan.needed(targets)
    jobs = [job for job in plan.pending if job.id in wanted]
    if not jobs:
        yield f"Nothing is to be done: {', '.join(targets) or 'every table and figure of the study'} is up to date."
        return
    yield f"{len(jobs)} of {len(plan.graph.jobs)} jobs are run, {plan.said(plan.time(jobs))}:"
    hanging = waiting.below(plan.graph)
    for (rule, causes), group in _groups(plan.graph, jobs).items():
        yield ""
        yield from wrapped(f"{_who(rule, group)}: {'; '.join(causes)}")
        yield from wrapped(f"cost: {plan.said(plan.time(group))} ({plan.costs[group[0].id].source})", "    ")
        reached = set.union(*(hanging[job.id] for job in group))
        yield from wrapped(f"below: {_below(plan, reached)}", "    ")


def _groups(graph: Graph, jobs: Sequence[Job]) -> dict[tuple[str, tuple[str, ...]], list[Job]]:
    rule_of = {path: job.rule for path, job in waiting.makers(graph).items()}
    found: dict[tuple[str, tuple[str, ...]], list[Job]] = {}
    for job in jobs:
        causes = tuple(in_words(job, rule_of, ever_made=_ever_made(job)))
        found.setdefault((job.rule, causes), []).append(job)
    return found


def _ever_made(job: Job) -> bool:
    return any(Path(path).exists() for path in [*job.outputs, *([job.benchmark] if job.benchmark else [])])


def _who(rule: str, group: Sequence[Job]) -> str:
    names = ["/".join(job.wildcards.values()) for job in group[:NAMED]]
    shown = ", ".join(filter(None, names)) + (", ..." if len(group) > NAMED else "")
    return f"{len(group)} job{'s' if len(group) > 1 else ''} of {rule}" + (f" ({shown})" if shown else "")


def _below(plan: Plan, reached: set[int]) -> str:
    """Artifacts and claims among the jobs ``reached``."""
    every = waiting.artifacts(plan.graph)
    names = [name for name, jobs in every.items() if jobs & reached]
    testable = {claim for claim, jobs in plan.claims.items() if jobs}
    claims = [claim for claim, jobs in plan.claims.items() if jobs & reached]
    if not claims and "Claims ledger" in names:
        told = f"all {len(plan.claims)} claims, through the ledger"
    elif testable and set(claims) == testable:
        told = f"all {len(claims)} claims that this study can test"
    else:
        told = f"{len(claims)} claims: {', '.join(claims)}" if claims else "no claim"
    if len(names) >= len(every) - 1:  # one tells only the configuration
        return f"every table and figure; {told}"
    return f"{', '.join(names) or 'no table or figure'}; {told}"
