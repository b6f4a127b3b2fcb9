"""Which responses a test compares, and the effect of each base model."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats

from selfdistill.analysis.estimates import ENOUGH_MODELS, Estimate, Spread, Undefined, estimate, ratio_values, spread_of
from selfdistill.claims.statements import (
    Cell,
    Claim,
    Contrast,
    Correlation,
    Role,
    Share,
    Test,
    cells_of,
    name_of,
)
from selfdistill.claims.units import TENTHS, Units
from selfdistill.claims.verdicts import p_in_words
from selfdistill.errors import UserError
from selfdistill.generation.requests import WORDED
from selfdistill.markers.counting import MARKERS
from selfdistill.training.methods import SDPO, SELF_TAUGHT
from selfdistill.training.settings import TRAINED

FEW = 50  # times that few problems are seen: the paper's 128 or fewer, of 6,400 draws
FEWEST_SIZES = 3  # |D| of a slope
FEWEST_ARMS = 5  # of a rank correlation
SAME = 9  # decimals at which two changes are ties: the order of their sums is no difference
ARM = ["thinking", "method", "learning_rate", "context", "teacher_update_rate", "top_k", "whole", "seen"]
ALONG = ("training", "evaluation")
# Benchmarks that a test may name, by what its responses are of; others have none.
BENCHMARKS = {
    "sft": ("hardest", "hardest_against_others"),
    **dict.fromkeys(("evaluation", "alignment"), ("hardest", TRAINED, "hardest_against_others")),
}
# The keys of a cell, beside thinking, that choose among responses.
CHOSEN_BY = {
    **dict.fromkeys(("guidance", "information", "solutions"), ("setting",)),
    "sets": ("data",),
    "sft": ("data", "words"),
    **dict.fromkeys(ALONG, ("method", "context", "teacher", "rate", "problems", "when")),
    "alignment": ("method", "context", "outcome", "place"),
}
OF_SELF_TAUGHT = ("context", "teacher", "rate")  # those that choose among runs of methods made from SDPO only
# Ratios of totals over problems: what is divided by what, and the factor.
OF_TOTALS = {"density": ("E", "L", 1000.0), "V": ("verified", "accepted", 1.0)}

Terms = list[tuple[float, int]]  # weights of sets of responses, by their row in `Units.cells`


@dataclass(frozen=True)
class Group:
    """A contrast of sets of responses, by base model, and its weight in the effect; ``out_of``: its denominator."""

    weight: float
    effect: dict[str, Terms]
    out_of: dict[str, Terms] | None
    margin: dict[str, Terms] | None


@dataclass(frozen=True)
class Instance:
    """A test on one benchmark, window or marker.

    ``bases`` have all that it needs; ``lacking`` some of it. ``missing`` says what no base model has, ``left_out``
    which arms are not compared.
    """

    test: Test
    benchmark: str = ""
    part: str = ""
    metric: str = ""
    groups: tuple[Group, ...] = ()
    missing: str = ""
    lacking: tuple[str, ...] = ()
    arms: tuple[tuple[object, ...], ...] = ()  # of a correlation
    rows: tuple[int, ...] = ()
    left_out: str = ""

    @cached_property
    def bases(self) -> list[str]:
        """Base models that have every set of responses."""
        sides = [side for group in self.groups for side in (group.effect, group.out_of, group.margin)]
        found = [set(side) for side in sides if side is not None]
        return sorted(set.intersection(*found)) if found else []


def variants(claim: Claim, role: Role, cells: pd.DataFrame) -> list[tuple[str, float | None]]:
    """The rates at which a claim is tested: fine-tuning's, or SDPO's; one without name where neither plays a part."""
    named = [cell for test in claim.tests for cell in cells_of(test)]
    if any(test.of == "sft" for test in claim.tests) and any(cell.data not in (None, "base") for cell in named):
        sft = cells[(cells["of"] == "sft") & (cells["family"] == role.family)]
        rates = sorted(sft["learning_rate"].dropna().unique())
    elif any(test.of != "alignment" for test in claim.tests) and any(
        cell.method in SELF_TAUGHT and cell.rate is None for cell in named
    ):
        rates = list(role.rates[SDPO])
    else:
        return [("", None)]
    return [(f"lr {rate:g}", float(rate)) for rate in rates] or [("", None)]


def instances(test: Test, role: Role, cells: pd.DataFrame, rate: float | None) -> Iterator[Instance]:
    """The test once per benchmark, tenth of training or marker that it is about."""
    own = cells[(cells["of"] == test.of) & (cells["family"] == role.family)]
    if test.of in ALONG:
        own = own[own["problem_set"].isin([role.problem_set, ""])]
    if any(cell.rate for cell in cells_of(test)) and len(set(role.rates.get(SDPO, []))) < 2:
        yield Instance(test, missing="one learning rate of SDPO, where rates are compared")
        return
    chosen = _Chosen(test, role, own, rate)
    benchmarks = chosen.benchmarks()
    if not benchmarks:
        where = f" of runs on the problem set '{role.problem_set}'" if test.of == "evaluation" else ""
        yield Instance(test, missing=f"no evaluation{where}")
    for benchmark in benchmarks:
        if test.correlation is not None:
            yield chosen.correlated(test.correlation, benchmark)
        elif test.each == "marker":
            for marker in MARKERS:
                yield chosen.instance(benchmark, f'"{marker}"', metric=marker)
        elif test.each == "tenth":
            for tenth in range(2, TENTHS + 1):
                yield chosen.instance(benchmark, f"tenth {tenth}", tenth=tenth)
        else:
            yield chosen.instance(benchmark)


def compared(claim: Claim, role: Role | None, cells: pd.DataFrame) -> list[str]:
    """The files (label ``file``) whose responses a claim's tests compare; none where not testable."""
    if role is None:
        return []
    rows = {
        row
        for _, rate in variants(claim, role, cells)
        for test in claim.tests
        for instance in instances(test, role, cells, rate)
        if not instance.missing
        for row in instance.rows
    }
    return sorted(set(cells.loc[sorted(rows), "file"]))


@dataclass(frozen=True)
class _Chosen:
    """One test at one learning rate, and the sets of responses ``own`` that it chooses from."""

    test: Test
    role: Role
    own: pd.DataFrame
    rate: float | None

    def benchmarks(self) -> list[str]:
        """The benchmarks to test on; one empty name if the test has none."""
        if self.test.of not in BENCHMARKS:
            return [""]
        if self.test.benchmark == TRAINED:
            return [TRAINED]
        there = self._unseen()
        if self.test.benchmark is not None:
            return [self.role.hardest] if self.role.hardest in there else []
        return there

    def _unseen(self) -> list[str]:
        asked = self.own if self.test.of == "sft" else self.own[self.own["method"] != "base"]
        return sorted(set(asked["benchmark"]) - {TRAINED})

    def instance(self, benchmark: str, part: str = "", *, metric: str = "", tenth: int | None = None) -> Instance:
        """The test on ``benchmark``."""
        test, parts = self.test, [part] if part else []
        found: list[Group] = []
        lacking: set[str] = set()
        if test.over is not None:
            sizes = self._sizes()
            parts.append("|D| = " + " and ".join("all" if whole else f"{seen:g}" for whole, seen in sizes))
            places = [(1 / len(sizes), benchmark, size) for size in sizes]
            if not sizes:
                words = "50 times or more" if test.over == "few" else "fewer than 50 times"
                return Instance(test, benchmark, missing=f"no run whose problems are seen {words}")
        elif test.benchmark == "hardest_against_others":
            others = [name for name in self._unseen() if name != benchmark]
            if not others:
                return Instance(test, benchmark, missing="no second benchmark of unseen problems")
            places = [(1.0, benchmark, None), *((-1 / len(others), name, None) for name in others)]
        else:
            places = [(1.0, benchmark, None)]
        for weight, place, size in places:
            sides: list[dict[str, Terms] | None] = []
            for contrast in (test.contrast, test.out_of, test.margin):
                if not isinstance(contrast, Contrast):
                    sides.append(None)
                    continue
                terms, absent, some = self._terms(contrast, place, size, tenth)
                if absent:
                    return Instance(test, benchmark, ", ".join(parts), missing=absent)
                lacking |= some
                sides.append(terms)
            assert sides[0] is not None  # every test without correlation has a contrast
            found.append(Group(weight, sides[0], sides[1], sides[2]))
        whole = Instance(test, benchmark, ", ".join(parts), metric or str(test.metric), tuple(found))
        if not whole.bases:
            return replace(whole, missing="no base model has all of the runs that are compared")
        sides_of = [side for group in found for side in (group.effect, group.out_of, group.margin) if side is not None]
        rows = {row for side in sides_of for base in whole.bases for _, row in side[base]}
        lacking |= {base for side in sides_of for base in side} - set(whole.bases)
        return replace(whole, lacking=tuple(sorted(lacking - set(whole.bases))), rows=tuple(sorted(rows)))

    def _sizes(self) -> list[tuple[bool, float]]:
        """The runs on few (or many) problems: whether they train on the whole set, and how many problems they see."""
        cells = [cell for cell in cells_of(self.test) if cell.method not in (None, "base") and cell.problems is None]
        found = pd.concat([self.own[self._matches(cell)] for cell in cells])
        few = found["exposures"] >= FEW
        found = found[few if self.test.over == "few" else ~few]
        return sorted(set(zip(found["whole"].astype(bool), found["seen"].astype(float), strict=True)))

    def _terms(
        self, contrast: Contrast, benchmark: str, size: tuple[bool, float] | None, tenth: int | None
    ) -> tuple[dict[str, Terms], str, set[str]]:
        """Weighted sets of responses by base model; what no base model has; base models that have a part only."""
        sides = [(1.0, contrast.more), (-1.0, contrast.less)]
        found = [
            (cell, {base: [(sign * weight, row) for weight, row in terms] for base, terms in by_base.items()})
            for sign, cell in sides
            if cell is not None
            for by_base in [self._of(cell, benchmark, size, tenth)]
        ]
        for cell, by_base in found:
            if not by_base:
                return {}, self._absent(cell, benchmark), set()
        common = set.intersection(*(set(by_base) for _, by_base in found))
        some = set().union(*(by_base for _, by_base in found)) - common
        joined = {base: [term for _, by_base in found for term in by_base[base]] for base in sorted(common)}
        return joined, "", some

    def _absent(self, cell: Cell, benchmark: str) -> str:
        """A sentence naming the responses that no base model has."""
        rate = self._rate(cell) if cell.method in SELF_TAUGHT else None
        told = name_of(cell) + ("" if rate is None else f" at lr {rate:g}")
        if self.test.of in ALONG and cell.method != "base":
            told += f" (thinking {cell.thinking or self.role.thinking}, problem set '{self.role.problem_set}')"
        points = f" at {FEWEST_SIZES} points or more, for a slope" if self.test.along is not None else ""
        return f"no responses of {told}{f' on {benchmark}' if benchmark else ''}{points}"

    def _of(self, cell: Cell, benchmark: str, size: tuple[bool, float] | None, tenth: int | None) -> dict[str, Terms]:
        """The sets of responses of one cell, by base model, with their weights in its mean or slope."""
        own, wanted = self.own, self._matches(cell)
        if benchmark:
            wanted &= own["benchmark"] == benchmark
        if self.test.of in ALONG and cell.method != "base":
            wanted &= self._in_time(cell, tenth)
            if size is not None and cell.problems is None:
                wanted &= (own["whole"] == size[0]) & (own["seen"] == size[1])
            elif self.test.along != "problems":
                wanted &= own["whole"].astype(bool)
            if self.test.along is not None:
                return self._slope(own[wanted], cell, benchmark)
        found = own[wanted]
        self._refuse_twins(found, cell, ["base", "seed", "benchmark", "thinking"])
        by_base: dict[str, list[int]] = {}
        for row, base in zip(found.index, found["base"], strict=True):
            by_base.setdefault(str(base), []).append(int(row))
        return {base: [(1 / len(rows), row) for row in rows] for base, rows in sorted(by_base.items())}

    def _in_time(self, cell: Cell, tenth: int | None) -> pd.Series:
        """Rows of ``own`` in the window that is asked for."""
        when, own = cell.when or self.test.when, self.own
        if self.test.along == "steps":
            return own["when"] == ("tenth" if self.test.of == "training" else "checkpoint")
        if tenth is not None:
            return (own["when"] == "tenth") & (own["progress"] == tenth - 0.5)
        return own["when"] == when

    def _slope(self, found: pd.DataFrame, cell: Cell, benchmark: str) -> dict[str, Terms]:
        """Least-squares weights along training, or doublings of the problems seen; by base model."""
        if self.test.along == "problems":
            axis = np.log2(found["seen"].astype(float))
            alike = ["base", "seed", "whole", "seen"]
        else:
            axis = found["progress"].astype(float)
            alike = ["base", "seed", "progress"]
        self._refuse_twins(found, cell, alike)
        slopes: dict[str, Terms] = {}
        for base, rows in found.groupby("base"):
            at = axis[rows.index]
            if self.test.along == "steps" and self.test.of == "evaluation":
                start = self._start(cell, str(base), benchmark)
                if start is None:
                    continue
                at = pd.concat([at, pd.Series([0.0], index=[start])])
            counts = at.map(at.value_counts())  # seeds of one point share its weight
            points = at.drop_duplicates()
            if len(points) < FEWEST_SIZES:
                continue
            centred = at - points.mean()
            weights = centred / counts / ((points - points.mean()) ** 2).sum()
            slopes[str(base)] = [(float(weight), int(row)) for row, weight in weights.items()]
        return slopes

    def _start(self, cell: Cell, base: str, benchmark: str) -> int | None:
        """The base model before training, which is step 0."""
        rows = self.own[self._matches(Cell(method="base", thinking=cell.thinking))]
        rows = rows[(rows["base"] == base) & (rows["benchmark"] == benchmark)]
        return None if rows.empty else int(rows.index[0])

    def _matches(self, cell: Cell) -> pd.Series:
        """Rows of ``own`` that a cell means, of whatever window, benchmark and number of problems."""
        own, role, keys = self.own, self.role, CHOSEN_BY[self.test.of]
        thinking = own["thinking"] == (cell.thinking or role.thinking)
        if "setting" in keys:
            return thinking & (own["setting"] == cell.setting)
        if "data" in keys:
            data = cell.data if cell.words is None else WORDED + cell.words
            untrained = data == "base" or cell.words is not None
            of_rate = own["learning_rate"] == self.rate if self.test.of == "sft" and not untrained else True
            return thinking & (own["data"] == data) & of_rate
        if cell.method == "base":
            return thinking & (own["method"] == "base")
        if "outcome" in keys:
            context = (cell.context or role.context) if cell.method in SELF_TAUGHT else ""
            of_part = (own["outcome"] == (cell.outcome or "")) & (own["place"] == (cell.place or ""))
            return thinking & (own["method"] == cell.method) & (own["context"] == context) & of_part
        self_taught = cell.method in SELF_TAUGHT
        rates = [self._rate(cell)] if self_taught else list(role.rates[str(cell.method)])
        wanted = thinking & (own["method"] == cell.method) & own["learning_rate"].isin(rates)
        if self_taught:
            moving = own["teacher_update_rate"] > 0
            wanted &= own["context"] == (cell.context or role.context)
            wanted &= moving == ((cell.teacher or role.teacher) == "moving")
            wanted &= own["top_k"] == role.top_k
        return wanted

    def _rate(self, cell: Cell) -> float | None:
        """The learning rate of a self-taught cell: the variant's, if it has one, or the one that it names."""
        rates = {"lowest": min, "highest": max}
        return self.rate if cell.rate is None else rates[cell.rate](self.role.rates[SDPO])

    def _refuse_twins(self, found: pd.DataFrame, cell: Cell, alike: list[str]) -> None:
        if len(found) > 1 and found.duplicated(alike).any():
            twin = found.loc[found.duplicated(alike), "base"].iloc[0]
            raise UserError(
                f"claims: several runs of '{twin}' with one seed fit {name_of(cell)}; the role in claims.roles has to "
                "name one of them, or the others have to go"
            )

    # --- correlations ---------------------------------------------------------------------------------------------

    def correlated(self, wanted: Correlation, benchmark: str) -> Instance:
        """The arms of every base model, and its own accuracy before, on ``benchmark``."""
        there = self.own[(self.own["benchmark"] == benchmark) & (self.own["when"] == "last")]
        arms = there[there["method"] != "base"]
        if wanted.among != "all":
            arms = arms[arms["method"] == wanted.among]
        keys = arms[ARM].apply(tuple, axis=1) if len(arms) else pd.Series(dtype=object)
        by_base = {str(base): set(keys[rows.index]) for base, rows in arms.groupby("base")}
        common = sorted(set.intersection(*by_base.values()), key=repr) if by_base else []
        part = f"{len(common)} arms"
        if len(common) < FEWEST_ARMS:
            sentence = f"{len(common)} arms that all base models share; a rank correlation needs {FEWEST_ARMS}"
            return Instance(self.test, benchmark, part, missing=sentence)
        before = there[there["method"] == "base"].set_index(["base", "thinking"]).index
        used = arms[keys.isin(common)]
        whole = [
            base for base, rows in used.groupby("base") if {(base, mode) for mode in rows["thinking"]} <= set(before)
        ]
        rows = used[used["base"].isin(whole)]
        starts = there[(there["method"] == "base") & there["base"].isin(whole)]
        everyone = tuple(sorted(set(by_base) - set(whole)))
        groups = (Group(1.0, {str(base): [] for base in whole}, None, None),)
        return Instance(
            self.test, benchmark, part, "correlation", groups, "" if whole else "no base model was evaluated",
            everyone, tuple(common), tuple(sorted([*rows.index, *starts.index])),
        )  # fmt: skip


# --- values -----------------------------------------------------------------------------------------------------------


class Effects:
    """The effects of tests on the sets of responses ``units``, at level ``confidence``."""

    def __init__(self, units: Units, confidence: float) -> None:
        self.units = units
        self.confidence = confidence
        self._spreads: dict[tuple[str, str, str], Spread | None] = {}
        self._levels: dict[tuple[int, str], pd.Series] = {}

    def effect(self, instance: Instance, role: Role) -> tuple[Estimate, dict[str, pd.Series]]:
        """The effect, as claimed above 0 (``out_of``: above ``than``), and its values by base model and problem.

        A base model whose responses do not define the effect, or its margin, is left out. `Undefined` for all of them.
        """
        values, undefined = {}, []
        for base in instance.bases:
            try:
                self.margin(instance, [base])  # for its refusal alone
                values[base] = self._values(instance, base)
            except Undefined as error:
                undefined.append(error)
        if not values:
            raise undefined[0]
        return self.estimated(values, instance, role), values

    def shared(self, instance: Instance) -> Instance:
        """A correlation over arms in which no base model lacks a metric: V, where no answer is accepted."""
        wanted = instance.test.correlation
        if wanted is None or instance.missing:
            return instance
        cells = self.units.cells.loc[list(instance.rows)]
        trained = cells[cells["method"] != "base"]
        arm_of = trained[ARM].apply(tuple, axis=1)
        defined = [
            all(self._is_defined(int(row), metric) for metric in (wanted.of, wanted.with_)) for row in arm_of.index
        ]
        if all(defined):
            return instance
        without = arm_of.isin(arm_of[~np.array(defined)])
        arms = tuple(sorted(set(arm_of[~without]), key=repr))
        number = f"{len(instance.arms) - len(arms)} of {len(instance.arms)}"
        left_out = f"without {number} arms, in which {wanted.of} of a base model is not defined"
        missing = f"{left_out}; a rank correlation needs {FEWEST_ARMS}" if len(arms) < FEWEST_ARMS else ""
        rows = tuple(row for row in instance.rows if row not in arm_of.index[without])
        return replace(instance, part=f"{len(arms)} arms", arms=arms, rows=rows, left_out=left_out, missing=missing)

    def _is_defined(self, row: int, metric: str) -> bool:
        try:
            self.level(row, metric)
        except Undefined:
            return False
        return True

    def estimated(self, values: Mapping[str, pd.Series], instance: Instance, role: Role) -> Estimate:
        """The estimate of a test's ``values``; fewer than twelve base models borrow from like quantities."""
        return estimate(values, confidence=self.confidence, spread=self._spread(instance, role, len(values)))

    def problems(self, instance: Instance, found: Estimate) -> int:
        """How many problems stand behind an effect; a rank correlation's are those of its fewest responses."""
        if instance.metric != "correlation":
            return found.problems
        return min(len(self.units.values[row]) for row in instance.rows)

    def margin(self, instance: Instance, bases: Iterable[str]) -> dict[str, pd.Series] | float | None:
        """The margin, a number or values by base model (``bases``) and problem."""
        margin = instance.test.margin
        if not isinstance(margin, Share):
            return margin
        found = {}
        for base in bases:
            groups = [(group.weight, self._summed(_side(group.margin, base), instance)) for group in instance.groups]
            found[base] = combined([(margin.share * weight, values) for weight, values in groups])
        return found

    def _values(self, instance: Instance, base: str) -> pd.Series:
        if instance.metric == "correlation":
            return self._rank_correlation(instance, base)
        parts = []
        for group in instance.groups:
            if group.out_of is None:
                parts.append((group.weight, self._summed(group.effect[base], instance)))
                continue
            sides = [group.effect[base], group.out_of[base]]
            problems = self._problems([term for side in sides for term in side], instance)
            above, below = (self._summed(side, instance, problems) for side in sides)
            parts.append((group.weight, ratio_values(above, below)))
        values = combined(parts)
        test = instance.test
        if test.out_of is None and (test.more is None) != (test.less is None):
            return values + (test.than if test.more is None else -test.than)
        return values

    def _summed(self, terms: Terms, instance: Instance, problems: pd.Index | None = None) -> pd.Series:
        """The weighted sum of sets of responses, by problem: on problems that they share, but in training on all."""
        own = self._by_seed(terms) if problems is None else [terms]
        if len(own) > 1:
            return combined([(1 / len(own), self._summed(each, instance)) for each in own])
        index = self._problems(terms, instance) if problems is None else problems
        series = [(weight, self.level(row, instance.metric)) for weight, row in terms]
        if instance.test.of not in ("training", "sets"):
            series = [(weight, values.reindex(index)) for weight, values in series]
        return combined(series, index)

    def _by_seed(self, terms: Terms) -> list[Terms]:
        """The terms, or those of each training seed, where each has problems of its own: those that it is trained on.

        Each is then paired with what it shares problems with; the mean over seeds has the weight of the whole.
        """
        rows = self.units.cells.loc[[row for _, row in terms]]
        trained = (rows["benchmark"] == TRAINED) & (rows["method"] != "base")
        seeds = sorted(rows.loc[trained, "seed"].unique())
        if len(seeds) < 2:
            return [terms]
        of_seed = dict(zip(rows.index, rows["seed"].where(trained), strict=True))
        return [
            [
                (weight * (len(seeds) if of_seed[row] == seed else 1), row)
                for weight, row in terms
                if pd.isna(of_seed[row]) or of_seed[row] == seed
            ]
            for seed in seeds
        ]

    def _problems(self, terms: Terms, instance: Instance) -> pd.Index:
        indices = [self.units.values[row].index for _, row in terms]
        joined = indices[0]
        for index in indices[1:]:
            joined = joined.union(index) if instance.test.of in ("training", "sets") else joined.intersection(index)
        if joined.empty:
            files = self.units.cells.loc[[row for _, row in terms], "file"].unique()
            raise UserError(f"claims: no problem is in all of {', '.join(sorted(files))}")
        return joined

    def level(self, row: int, metric: str) -> pd.Series:
        """A metric of one set of responses, by problem; their mean is that of the set."""
        if (row, metric) not in self._levels:
            self._levels[row, metric] = self._level(row, metric)
        return self._levels[row, metric]

    def _level(self, row: int, metric: str) -> pd.Series:
        values = self.units.values[row]
        weights = values["rollouts"] if self.units.cells["of"].iloc[row] in ("training", "sets") else 1.0
        columns = [values[name] for name in columns_of(metric)]
        if metric in OF_TOTALS:
            top, bottom = columns
            return ratio_values(weights * OF_TOTALS[metric][2] * top, weights * bottom)
        [found] = columns
        if metric == "avg":
            found = 100 * found
        if np.ptp(np.broadcast_to(weights, len(values))) == 0:
            return found
        return ratio_values(weights * found, weights * pd.Series(1.0, index=values.index))

    def over_arms(self, instance: Instance, bases: Sequence[str]) -> str:
        """What a rank correlation is once arms are the sample: of their changes, averaged over base models; else empty.

        Base models share their arms: the t over base models speaks of these arms, and no number of base models of
        others.
        """
        if instance.test.correlation is None:
            return ""
        together = pd.concat([self._changes(instance, base) for base in bases]).groupby(level=0).mean()
        found = stats.spearmanr(together["of"].round(SAME), together["with"].round(SAME))
        return (
            f"of these {len(together)} arms alone; over arms, averaged over base models: {found.statistic:.2f}, "
            f"{p_in_words(found.pvalue)}"
        )

    def _rank_correlation(self, instance: Instance, base: str) -> pd.Series:
        table = self._changes(instance, base).round(SAME)
        found = table["of"].corr(table["with"], method="spearman")
        if np.isnan(found):
            raise Undefined("claims: no base model has arms that differ")
        return pd.Series([found], index=[base])

    def _changes(self, instance: Instance, base: str) -> pd.DataFrame:
        """By arm of a base model (its training seeds averaged), the changes of both metrics from before training."""
        wanted = instance.test.correlation
        assert wanted is not None
        cells = self.units.cells.loc[list(instance.rows)]
        own = cells[cells["base"] == base]
        before = {row["thinking"]: int(place) for place, row in own[own["method"] == "base"].iterrows()}
        changes: dict[tuple[object, ...], list[tuple[float, float]]] = {}
        for place, row in own[own["method"] != "base"].iterrows():
            pair = [(1.0, int(place)), (-1.0, before[row["thinking"]])]
            of, to = (self._summed(pair, replace(instance, metric=name)).mean() for name in (wanted.of, wanted.with_))
            changes.setdefault(tuple(row[ARM]), []).append((of, to))
        means = [np.mean(pairs, axis=0) for pairs in changes.values()]
        return pd.DataFrame(means, columns=["of", "with"], index=[repr(arm) for arm in changes])

    # --- like quantities --------------------------------------------------------------------------------------------

    def _spread(self, instance: Instance, role: Role, models: int) -> Spread | None:
        """The pooled variance of like differences; None for levels, ratios, slopes and correlations."""
        test = instance.test
        alone = test.contrast.more is None or test.contrast.less is None if test.correlation is None else True
        if not 1 < models < ENOUGH_MODELS or alone or test.out_of is not None or test.along is not None:
            return None
        key = (test.of, role.family, instance.metric)
        if key not in self._spreads:
            self._spreads[key] = spread_of(self._standard(*key))
        return self._spreads[key]

    def _standard(self, of: str, family: str, metric: str) -> Iterator[Estimate]:
        """Differences that the data alone define: each setting or run to what it began with."""
        cells = self.units.cells
        own = cells[(cells["of"] == of) & (cells["family"] == family)]
        for rows, before in _begun(own, of):
            pairs = {
                str(base): [*((1 / len(found), int(row)) for row in found.index), (-1.0, int(before[base]))]
                for base, found in rows.groupby("base")
                if base in before
            }
            plain = Instance(Test(of=of, metric="L", more=Cell(), less=Cell()), metric=metric)
            if len(pairs) > 1:
                with suppress(Undefined):
                    values = {base: self._summed(terms, plain) for base, terms in pairs.items()}
                    yield estimate(values, confidence=self.confidence)


def columns_of(metric: str) -> tuple[str, ...]:
    """The columns of `Units.values` that a metric is computed from."""
    if metric in OF_TOTALS:
        top, bottom, _ = OF_TOTALS[metric]
        return top, bottom
    return ("score",) if metric == "avg" else (metric,)


def _begun(own: pd.DataFrame, of: str) -> Iterator[tuple[pd.DataFrame, Mapping[str, int]]]:
    """Rows of each setting or run with, by base model, the row that it is set against."""

    def first_of(rows: pd.DataFrame) -> dict[str, int]:
        return {str(base): int(found.index[0]) for base, found in rows.groupby("base")}

    if of == "guidance":
        for _, rows in own[own["setting"] != "unguided"].groupby("setting"):
            yield rows, first_of(own[own["setting"] == "unguided"])
    elif of == "sft":
        for _, there in own.groupby("benchmark"):
            before = first_of(there[there["data"] == "base"])
            for _, rows in there[there["data"] != "base"].groupby(["data", "learning_rate"]):
                yield rows, before
    elif of == "evaluation":
        last = own[(own["when"] == "last")]
        for _, there in last.groupby(["benchmark", "thinking"]):
            before = first_of(there[there["method"] == "base"])
            for _, rows in there[there["method"] != "base"].groupby(["problem_set", *ARM], dropna=False):
                yield rows, before
    elif of == "training":
        for _, rows in own.groupby(["problem_set", *ARM], dropna=False):
            yield rows[rows["when"] == "last"], first_of(rows[rows["when"] == "first"])


def _side(terms: dict[str, Terms] | None, base: str) -> Terms:
    return [] if terms is None else terms[base]


def combined(parts: Sequence[tuple[float, pd.Series]], problems: pd.Index | None = None) -> pd.Series:
    """The weighted sum of means over problems, as one number per problem whose mean it is.

    On equal problems it is the weighted sum, problem by problem. A part on other problems brings in its own deviations,
    scaled so that the mean's variance is right (influence values): two windows of training hold other problems.
    """
    index = problems
    if index is None:
        index = parts[0][1].index
        for _, values in parts[1:]:
            index = index.union(values.index)
    index = index.sort_values()
    total, influence = 0.0, np.zeros(len(index))
    for weight, values in parts:
        mean = float(values.mean())
        total += weight * mean
        np.add.at(
            influence, index.get_indexer(values.index), weight * (values.to_numpy(dtype=float) - mean) / len(values)
        )
    return pd.Series(total + len(index) * influence, index=index)


def shifted(
    values: Mapping[str, pd.Series], sign: float, margin: Mapping[str, pd.Series] | float
) -> dict[str, pd.Series]:
    """``sign`` times the effect, plus its margin, by base model and problem."""
    if isinstance(margin, Mapping):
        return {base: combined([(sign, found), (1.0, margin[base])]) for base, found in values.items()}
    return {base: sign * found + margin for base, found in values.items()}


def rests_on_one_problem(values: Mapping[str, pd.Series]) -> bool:
    """Whether all base models have one problem, and the same."""
    return all(len(found) == 1 for found in values.values()) and len({found.index[0] for found in values.values()}) == 1


def mean_of(margin: Mapping[str, pd.Series] | float | None) -> float:
    """The margin as a number: the mean over base models."""
    if isinstance(margin, Mapping):
        return float(np.mean([values.mean() for values in margin.values()]))
    return math.nan if margin is None else margin
