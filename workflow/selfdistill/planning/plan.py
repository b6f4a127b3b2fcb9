"""`selfdistill plan`: what a study costs, what is still missing, and when each table, figure and claim appears."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from selfdistill.errors import UserError, nearest
from selfdistill.planning import costs, dag, waiting
from selfdistill.planning.costs import Cost
from selfdistill.planning.dag import Graph, Job
from selfdistill.planning.measured import Finished
from selfdistill.planning.measured import finished as measured_jobs
from selfdistill.planning.ranges import ZERO, Range, exactly, total
from selfdistill.planning.simulation import Task, end_times
from selfdistill.planning.text import bracketed, count, digits, duration, entry, table, wrapped
from selfdistill.planning.work import Study

SMALL = 0.005  # rules that neither sample nor train and take less than this share of the time are shown as one line
SIMULTANEOUS_GPU_JOBS = 1  # on a machine of one's own
BOUNDS = ("low", "typical", "high")


@dataclass(frozen=True)
class Plan:
    """A study's graph with the cost of each job.

    ``targets``: all that is asked for, of the plan ``whole``; none for the whole study.
    """

    graph: Graph
    study: Study
    whole: "Plan | None" = None
    targets: tuple[str, ...] = ()

    def only(self, targets: Sequence[str]) -> "Plan":
        """The plan of what ``targets`` need; of everything without any."""
        if not targets:
            return self
        wanted = self.needed(targets)
        jobs = tuple(job for job in self.graph.jobs if job.id in wanted)
        return Plan(replace(self.graph, jobs=jobs), self.study, self, tuple(targets))

    def needed(self, targets: Sequence[str]) -> set[int]:
        """The jobs that ``targets`` need; all without targets. `UserError` for what nothing is called."""
        if not targets:
            return {job.id for job in self.graph.jobs}
        return waiting.needed(self.graph, set().union(*map(self._makers, targets)))

    def _makers(self, target: str) -> set[int]:
        known = {path: {job.id} for path, job in waiting.makers(self.graph).items()}
        for job in self.graph.jobs:
            known.setdefault(job.rule, set()).add(job.id)
        known |= waiting.sections(self.graph) | waiting.artifacts(self.graph)
        if target not in known:
            known |= {claim: jobs for claim, jobs in self.claims.items() if jobs}
        if target not in known:
            raise UserError(
                f"--target: nothing of this study is called '{target}'{nearest(target, known)}; allowed are files that "
                "a job makes, rules, sections (section_3), names such as 'Figure 3', and claims that are tested here"
            )
        return known[target]

    @cached_property
    def costs(self) -> dict[int, Cost]:
        return self.whole.costs if self.whole else costs.costs(self.graph, self.study)

    @cached_property
    def pending(self) -> list[Job]:
        return [job for job in self.graph.jobs if job.pending]

    @cached_property
    def claims(self) -> dict[str, set[int]]:
        """The jobs whose responses each claim compares; for a part of a study, only claims that it has whole."""
        if self.whole is None:
            return waiting.claim_jobs(self.graph, self.study)
        here = {job.id for job in self.graph.jobs}
        return {claim: jobs for claim, jobs in self.whole.claims.items() if jobs and jobs <= here}

    @property
    def on_gpus(self) -> bool:
        return any(cost.gpus for cost in self.costs.values())

    @property
    def capacity(self) -> dict[str, int]:
        """What jobs share: a cluster's slots, or a machine's cores and GPUs."""
        if self.graph.nodes is not None:
            return {"jobs": self.graph.nodes}
        return {"cores": self.graph.cores, "gpu jobs": SIMULTANEOUS_GPU_JOBS}

    @property
    def where(self) -> str:
        if self.graph.nodes is not None:
            return f"a cluster, {self.graph.nodes} jobs at a time"
        return f"{self.graph.cores} cores" + (", one GPU job at a time" if self.on_gpus else "")

    def time(self, jobs: Sequence[Job]) -> Range:
        """Seconds: of wall clock if ``jobs`` kept all cores busy; where GPUs are used, GPU-seconds."""
        if self.on_gpus:
            return total(self.costs[job.id].seconds * self.costs[job.id].gpus for job in jobs)
        cores = self.graph.cores
        return total(self.costs[job.id].seconds * (min(job.threads, cores) / cores) for job in jobs)

    def said(self, time: Range) -> str:
        """A time in words."""
        return (
            f"{bracketed(time / 3600)} GPU-hours" if self.on_gpus else f"{duration(time)} on {self.graph.cores} cores"
        )

    @cached_property
    def ends(self) -> dict[int, Range]:
        """Seconds from the start at which each pending job ends."""
        by_bound = [end_times(self._tasks(bound), self.capacity) for bound in BOUNDS]
        # With other durations, jobs may start in another order, and a single one end sooner with longer ones.
        return {job.id: Range(*sorted(ends[job.id] for ends in by_bound)) for job in self.pending}

    def _tasks(self, bound: str) -> dict[int, Task]:
        cluster = self.graph.nodes is not None
        tasks = {}
        for job in self.pending:
            cost = self.costs[job.id]
            holds = {"jobs": 1} if cluster else {"cores": job.threads, "gpu jobs": int(cost.gpus > 0)}
            tasks[job.id] = Task(getattr(cost.seconds, bound), job.needs, holds)
        return tasks


def read(configfile: Sequence[Path], profile: Sequence[Path], cores: int | None, price: float | None) -> Plan:
    """The plan of the study that these flags configure, in the folder where the command runs."""
    if cores is not None and cores < 1:
        raise UserError(f"--cores: {cores}; it must be 1 or more")
    if price is not None and not price >= 0:
        raise UserError(f"--price: {price:g}; money per GPU-hour must be 0 or more")
    graph = dag.read(configfiles=configfile, profiles=profile, cores=cores)
    return Plan(graph, costs.study_of(graph))


def lines(plan: Plan, price: float | None) -> Iterator[str]:
    """The plan as text."""
    jobs, to_do = len(plan.graph.jobs), len(plan.pending)
    asked = f", for {', '.join(plan.targets)}" if plan.targets else ""
    yield f"Study '{plan.study.config.study}'{asked}, on {plan.where}: {jobs} jobs, {jobs - to_do} done, {to_do} to do."
    yield ""
    yield from _cost_lines(plan, price)
    yield ""
    yield from _alone_lines(plan, price)
    yield ""
    yield from _appearance_lines(plan)
    measured = measured_jobs(plan.graph, plan.study)
    if measured:
        yield ""
        yield from _error_lines(measured)


# --- costs --------------------------------------------------------------------------------------------------------


def _cost_lines(plan: Plan, price: float | None) -> Iterator[str]:
    paid = price is not None and plan.on_gpus
    unit = "GPU-hours" if plan.on_gpus else f"min on {plan.graph.cores} cores"
    head = ["rule", "jobs", "to do", "time, all", "time, to do", "drawn", "trained", "GB"]
    head += ["money"] if paid else []
    rows = [_row(plan, name, jobs, price if paid else None) for name, jobs in _groups(plan)]
    rows.append(_row(plan, "total", list(plan.graph.jobs), price if paid else None))
    yield f"COST (time: {unit} [low-high]; tokens, GB kept" + (" and money" if paid else "") + ": of what is to do)"
    yield from table([*head, "source"], rows)
    if price is not None and not plan.on_gpus:
        yield "No job holds a GPU, so no money is asked."
    yield from wrapped(
        "Trained: tokens times passes (forward and backward). Bounds are added up, as if all jobs were slow, or fast, "
        f"together. {_source_words(plan)}"
    )


def _source_words(plan: Plan) -> str:
    assumed = plan.study.assumed
    table_says = "Assumed" if assumed.origin == "assumed" else "Measured elsewhere"
    return f"{table_says}: {assumed.values['where']}. Waiting in a cluster's queue is not counted."


def _groups(plan: Plan) -> Iterator[tuple[str, list[Job]]]:
    """Jobs by rule, rules that cost next to nothing together at the end."""
    rules: dict[str, list[Job]] = {}
    for job in plan.graph.jobs:
        rules.setdefault(job.rule, []).append(job)
    whole = plan.time(plan.graph.jobs).typical
    small = [rule for rule, jobs in rules.items() if _is_small(plan, jobs, whole)]
    yield from ((rule, jobs) for rule, jobs in rules.items() if rule not in small)
    if small:
        yield f"{len(small)} other rules", [job for rule in small for job in rules[rule]]


def _is_small(plan: Plan, jobs: Sequence[Job], whole: float) -> bool:
    works = [plan.costs[job.id].work for job in jobs]
    tokens = sum(work.tokens.high + work.trained.high for work in works)
    return tokens == 0 and plan.time(jobs).typical < SMALL * whole


def _row(plan: Plan, name: str, jobs: list[Job], price: float | None) -> list[str]:
    to_do = [job for job in jobs if job.pending]
    works = [plan.costs[job.id].work for job in to_do]
    unit = 3600 if plan.on_gpus else 60
    sources = dict.fromkeys(plan.costs[job.id].source for job in jobs)
    missing = plan.time(to_do) / unit
    row = [name, str(len(jobs)), str(len(to_do)), digits((plan.time(jobs) / unit).typical), bracketed(missing)]
    for amounts in ([w.tokens for w in works], [w.trained for w in works], [w.kept for w in works]):
        row.append(count(exactly(total(amounts).typical)))
    row += [] if price is None else [bracketed(missing * price)]
    return [*row, ", ".join(sources)]


# --- each alone ---------------------------------------------------------------------------------------------------


def _alone_lines(plan: Plan, price: float | None) -> Iterator[str]:
    """What a start for one section, figure or table would cost, as if nothing else were asked for; and each claim."""
    paid = price if plan.on_gpus else None
    sections = waiting.sections(plan.graph) if plan.whole is None else {}  # a part of a study holds parts of sections
    made = {**sections, **waiting.artifacts(plan.graph)}
    yield "EACH ALONE, what is to do of it (`snakemake section_3`, `snakemake FILE`; what two share is counted twice)"
    rows = [[name, *_alone(plan, jobs, paid)] for name, jobs in made.items()]
    yield from table(["what", "jobs", "time", *(["money"] if paid is not None else []), ""], rows)
    claims: dict[tuple[str, ...], list[str]] = {}
    for claim, jobs in plan.claims.items():
        if jobs:
            claims.setdefault(_alone(plan, jobs, paid), []).append(claim)
    yield "" if claims else "No claim is decided by these."
    for (number, time, *money, _), names in claims.items():
        cost = ", ".join([f"{number} jobs", time, *(f"money {amount}" for amount in money)])
        yield from wrapped(f"{cost}: the responses of {', '.join(names)}")


def _alone(plan: Plan, jobs: set[int], price: float | None) -> tuple[str, ...]:
    """Number, time and perhaps money of the pending jobs among ``jobs`` and what they need."""
    needed = waiting.needed(plan.graph, jobs)
    to_do = [job for job in plan.pending if job.id in needed]
    time = plan.time(to_do)
    money = () if price is None else (bracketed(time / 3600 * price),)
    return str(len(to_do)), plan.said(time), *money, ""


# --- when ---------------------------------------------------------------------------------------------------------


def _appearance_lines(plan: Plan) -> Iterator[str]:
    appear = {name: _latest(plan, jobs) for name, jobs in waiting.artifacts(plan.graph).items()}
    done = [name for name, when in appear.items() if when is None]
    yield f"WHAT APPEARS WHEN (from the start, on {plan.where}; jobs in the order in which they become ready)"
    if done:
        yield from entry("there already", ", ".join(done))
    for when, names in _by_time(appear):
        yield from entry(duration(when), ", ".join(names))
    yield from _claim_lines(plan)


def _claim_lines(plan: Plan) -> Iterator[str]:
    when = {claim: _latest(plan, jobs) for claim, jobs in plan.claims.items() if jobs}
    untested = [claim for claim, jobs in plan.claims.items() if not jobs]
    yield ""
    yield "CLAIMS whose responses are complete (verdicts come with the claims ledger, which corrects over all tests)"
    there = [claim for claim, time in when.items() if time is None]
    if there:
        yield from entry("there already", ", ".join(there))
    for time, claims in _by_time(when):
        yield from entry(duration(time), ", ".join(claims))
    if untested:
        yield from entry("need no response", ", ".join(untested))


def _latest(plan: Plan, jobs: set[int]) -> Range | None:
    """When the last of ``jobs`` ends; None where all are done."""
    ends = [plan.ends[job] for job in jobs if job in plan.ends]
    return Range(*(max(getattr(end, bound) for end in ends) for bound in BOUNDS)) if ends else None


def _by_time(when: dict[str, Range | None]) -> list[tuple[Range, list[str]]]:
    """Names by time, those that are shown at the same time together."""
    shown: dict[str, tuple[Range, list[str]]] = {}
    for name, time in sorted(when.items(), key=lambda item: (item[1] or ZERO).typical):
        if time is not None:
            shown.setdefault(duration(time), (time, []))[1].append(name)
    return list(shown.values())


# --- how good -----------------------------------------------------------------------------------------------------


def _error_lines(measured: list[Finished]) -> Iterator[str]:
    yield f"HOW GOOD THE MODEL IS: {len(measured)} finished jobs, each predicted from the others of its rule"
    shown, seconds = [], []
    for rule, error in costs.errors(measured).items():
        if error.left_out:
            inside = f"{error.inside} of {error.jobs}"
            shown.append(
                [rule, str(error.jobs), f"{error.median:.0%}", f"{error.worst:.0%}", inside, f"{error.scale:.2f}"]
            )
        else:
            seconds.append(error.median)
    yield from table(["rule", "jobs", "median error", "worst", "within the range", "measured / table"], shown)
    if seconds:
        median, worst = sorted(seconds)[len(seconds) // 2], max(seconds)
        yield f"{len(seconds)} rules with one finished job, against the table: median {median:.0%}, worst {worst:.0%}."
