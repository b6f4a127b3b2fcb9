"""The statements of `config/claims.yaml`: what is claimed, and how it is tested."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from selfdistill.analysis.words import GUIDANCE
from selfdistill.errors import UserError, one_of
from selfdistill.settings import Among, Count, Distinct, key, sentences, settings
from selfdistill.training import edited_sets
from selfdistill.training.methods import METHODS
from selfdistill.training.settings import Context, MethodName, Rate
from selfdistill.training.sft_sets import SETS
from selfdistill.written import read_written

Of = Literal["guidance", "information", "alignment", "solutions", "sets", "sft", "training", "evaluation"]
Metric = Literal["score", "avg", "L", "E", "V", "density", "doubt", "kept", "information", "gain"]
When = Literal["first", "last", "start", "middle", "end", "whole", "half"]
PRIMARIES = {False: 12, True: 5}  # as many are pre-registered: the paper's, and ours


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Cell(_Strict):
    """Which responses a mean is taken over; what is not said is the role's, or as usual (the whole set, the end)."""

    setting: Annotated[str, Among(GUIDANCE)] | None = None
    data: Annotated[str, Among(("base", *SETS, *edited_sets.NAMES))] | None = None
    words: str | None = None  # the name of an entry of `evaluation.words`, which a study may have or not
    method: Annotated[str, Among(("base", *METHODS))] | None = None
    context: Context | None = None  # a template's name too, which a study may have or not
    teacher: Literal["fixed", "moving"] | None = None
    thinking: Literal["on", "off"] | None = None
    rate: Literal["lowest", "highest"] | None = None  # of SDPO's rates, in a test that compares rates
    outcome: Literal["right", "wrong"] | None = None  # of the responses whose tokens count
    place: Literal["decision", "verification", "other"] | None = None  # in them
    problems: Literal["whole"] | None = None  # the whole set, where the test is about runs on parts of it
    when: When | None = None


class Contrast(_Strict):
    """The mean of ``more`` less that of ``less``, either of which may be absent."""

    more: Cell | None = None
    less: Cell | None = None

    @model_validator(mode="after")
    def _one_side(self) -> "Contrast":
        if self.more is None and self.less is None:
            raise ValueError("expected 'more' or 'less'")
        return self


class Share(Contrast):
    """A share of another effect."""

    share: float = Field(gt=0)


class Correlation(_Strict):
    """A rank correlation between the changes of two metrics over a base model's arms."""

    of: Metric
    with_: Metric = Field(alias="with")
    among: Annotated[str, Among(("all", *METHODS))]


class Test(_Strict):
    """One comparison; see the head of `config/claims.yaml`."""

    of: Of
    metric: Metric | None = None
    benchmark: Literal["hardest", "trained", "hardest_against_others"] | None = None
    each: Literal["tenth", "marker"] | None = None
    over: Literal["few", "many"] | None = None
    when: When = "last"
    more: Cell | None = None
    less: Cell | None = None
    than: float = 0.0
    out_of: Contrast | None = None
    rising: Cell | None = None
    falling: Cell | None = None
    along: Literal["problems", "steps"] | None = None
    correlation: Correlation | None = None
    claim: Literal["more", "no_less", "same", "little", "more_than"] = "more"
    margin: float | Share | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "Test":
        compared = self.more is not None or self.less is not None
        forms = [compared, self.rising is not None, self.falling is not None, self.correlation is not None]
        if sum(forms) != 1:
            raise ValueError("a test has 'more' and 'less', or 'rising', or 'falling', or a 'correlation'")
        if (self.metric is None) != (self.correlation is not None):
            raise ValueError("a test has a 'metric', unless it is a correlation of two")
        if (self.more is None or self.less is None) and compared and not self.than:
            raise ValueError("a test with 'more' or 'less' alone needs 'than', the number in place of the other")
        if (self.rising is not None or self.falling is not None) and self.along is None:
            raise ValueError("a slope needs 'along', problems or steps")
        if self.out_of is not None and (self.claim != "more" or self.margin is not None):
            raise ValueError("a share ('out_of') is compared with 'than', and has no margin")
        if self.claim != "more" and self.margin is None:
            raise ValueError(f"a test that claims '{self.claim}' needs a 'margin'")
        if isinstance(self.margin, float) and self.margin <= 0:
            raise ValueError(f"'margin' is the size of an effect, a number above 0 (found {self.margin:g})")
        return self

    @property
    def contrast(self) -> Contrast:
        """The effect, as claimed above 0; of a correlation there is none."""
        return Contrast(more=self.more or self.rising, less=self.less or self.falling)


class Primary(_Strict):
    """Marks one of `PRIMARIES`: its learning rate, and in words what is expected."""

    expects: str
    rate: Literal["matched", "highest"] | None = (
        None  # GRPO's, or fine-tuning's highest; None where no rate plays a part
    )


def _in_kebab_case(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError("a name has lower-case letters and digits, with single hyphens between words")
    return name


class _Listed(_Strict):
    id: Annotated[str, AfterValidator(_in_kebab_case)]
    section: str
    statement: str
    shown_in: list[str] = []  # names of figures and tables


class Claim(_Listed):
    """A statement of the paper, or of ours."""

    role: str | None = None
    ours: bool = False  # not in the paper
    taught: bool = False  # pre-training teaches the microcosm's models to behave so
    primary: Primary | None = None
    published: str = ""
    note: str = ""
    tests: list[Test] = []
    untestable: str = ""
    same_as: str = ""

    @model_validator(mode="after")
    def _testable_or_why_not(self) -> "Claim":
        if sum(map(bool, (self.tests, self.untestable, self.same_as))) != 1 or bool(self.tests) != bool(self.role):
            raise ValueError("a claim has a role and tests, or says why it is untestable, or which other is the same")
        if self.ours and self.published:
            raise ValueError("a claim of ours is not published")
        return self


class Conflict(_Listed):
    """Statements, or arithmetic, that contradict each other as published."""

    conflict: str


@settings
class Role:
    """Which models of a study play one of the paper's parts, and how they were trained."""

    family: str = key(doc="Family of models.", min_length=1)
    thinking: Literal["on", "off"] = key("on", doc="With thinking on or off.")
    problem_set: str = key("train", doc="Problem set trained on.")
    rates: dict[MethodName, Distinct[Rate]] = key(
        factory=dict,
        doc="Learning rates tested of each method; each of SDPO's is a variant with a verdict of its own.",
    )
    context: Context = key("solution", doc="Context of SDPO where a statement names none.")
    teacher: Literal["fixed", "moving"] = key("fixed", doc="Teacher of SDPO where a statement names none.")
    top_k: Count = key(100, doc="Runs of SDPO with this top-k.")
    hardest: str = key("hard", doc="The harder of the unseen benchmarks.", paper="AIME24")


def read_claims(path: Path) -> list[Claim]:
    """The statements in ``path`` that have verdicts; `UserError` with a sentence for each fault of the file."""
    return read_statements(path)[0]


def read_statements(path: Path) -> tuple[list[Claim], list[Conflict]]:
    """The same, and those that contradict each other as published."""
    from selfdistill.claims.sense import senseless

    content = read_written(path)
    if not isinstance(content, dict) or not isinstance(content.get("claims"), list):
        raise UserError(f"{path}: expected a list of statements under 'claims'")
    claims: list[Claim] = []
    conflicts: list[Conflict] = []
    faults = list(_parsed(path, content["claims"], Claim, "claim", claims))
    faults += _parsed(path, content.get("conflicts") or [], Conflict, "conflict", conflicts)
    counts = Counter(each.id for each in [*claims, *conflicts])
    faults += [f"{path}: {count} statements are called '{name}'" for name, count in counts.items() if count > 1]
    faults += [f"{path}: {fault}" for fault in [*senseless(claims), *_between(claims)]]
    if faults:
        raise UserError("\n".join(faults))
    return claims, conflicts


def _parsed(path: Path, entries: Any, kind: type[_Listed], word: str, found: list[Any]) -> Iterator[str]:
    """The faults of ``entries``; those without are added to ``found``."""
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        name = f"'{entry['id']}'" if isinstance(entry, dict) and "id" in entry else f"{number} of the list"
        try:
            found.append(kind.model_validate(entry))
        except ValidationError as error:
            yield from sentences(error, kind, f"{path}: {word} {name}")


def _between(claims: Sequence[Claim]) -> Iterator[str]:
    """Faults between statements: what ``same_as`` names is not there, and tests that stand twice."""
    tested = {claim.id: claim for claim in claims if claim.tests}
    for claim in claims:
        if claim.same_as and claim.same_as not in tested:
            yield f"claim '{claim.id}': same_as: no statement with tests is called '{claim.same_as}'"
    seen: dict[str, str] = {}
    for claim in tested.values():
        tests = repr((claim.role, sorted(map(repr, claim.tests))))
        if tests in seen:
            other = seen[tests]
            yield f"claim '{claim.id}': its tests are those of '{other}'; write 'same_as: {other}' in their place"
        seen.setdefault(tests, claim.id)


def role_of(claim: Claim, roles: Mapping[str, Role | None]) -> Role | None:
    """The role that a claim is about, None where no model plays it; `UserError` for one that there is not."""
    return one_of("role", str(claim.role), roles, where=f"claim '{claim.id}'")


def cells_of(test: Test) -> list[Cell]:
    """Every cell that a test names, its margin's and its denominator's too."""
    contrasts = [each for each in (test.out_of, test.margin) if isinstance(each, Contrast)]
    if test.correlation is None:
        contrasts.append(test.contrast)
    return [cell for each in contrasts for cell in (each.more, each.less) if cell is not None]


QUANTITIES = {
    "score": "score", "avg": "accuracy", "L": "length", "E": "markers", "V": "verified share of accepted answers",
    "density": "markers per 1,000 tokens", "doubt": "markers of doubt", "kept": "share outside the thinking",
    "information": "information of the context", "gain": "change of success along the gradient",
}  # fmt: skip
WINDOWS = {
    "first": " at the start", "start": " in the first tenth", "middle": " at 20 to 40 %", "end": " in the last fifth",
    "whole": " over all of training", "half": " halfway",
}  # fmt: skip
PLACES = {
    "hardest": " on the harder type", "trained": " on the problems trained on",
    "hardest_against_others": " on the harder type, less that on the others",
}  # fmt: skip
PARTS = {"decision": "decisions", "verification": "verification", "other": "other places"}
AXES = {"problems": "per doubling of problems seen", "steps": "per tenth of training"}


def in_words(test: Test) -> str:
    """A test as a line: the effect, and what is claimed of it."""
    where = PLACES.get(test.benchmark or "", "")
    if test.correlation is not None:
        wanted = test.correlation
        arms = "all arms" if wanted.among == "all" else f"arms of {wanted.among.upper()}"
        changes = f"{QUANTITIES[wanted.of]} and {QUANTITIES[wanted.with_]}"
        return f"rank correlation of the changes of {changes} over {arms} > 0{where}"
    effect = f"{QUANTITIES[str(test.metric)]}{where}: {_difference(test.contrast, test)}"
    if test.out_of is not None:
        return f"{effect}, as a share of {_difference(test.out_of, test)} > {test.than:g}"
    bound = f"{test.margin:g}" if isinstance(test.margin, float) else _share(test)
    return effect + {
        "more": " > 0", "no_less": f" > -{bound}", "same": f" within {bound} of 0", "little": f" < {bound}",
        "more_than": f" > {bound}",
    }[test.claim]  # fmt: skip


def _share(test: Test) -> str:
    margin = test.margin
    return f"{margin.share:g} ({_difference(margin, test)})" if isinstance(margin, Share) else ""


def _difference(contrast: Contrast, test: Test) -> str:
    more, less = (cell and name_of(cell) + _window(cell, test) for cell in (contrast.more, contrast.less))
    than = f"{test.than:g}" if test.than and contrast is not test.out_of and test.out_of is None else ""
    if more is None or less is None:
        text = f"{more or than} - {less or than}" if than else more or f"-({less})"
    else:
        text = f"{more} - {less}"
    return f"slope of {text} {AXES[test.along]}" if test.along is not None else text


def _window(cell: Cell, test: Test) -> str:
    when = cell.when or test.when
    return WINDOWS.get(when, "") if cell.method not in (None, "base") and test.along is None else ""


def name_of(cell: Cell) -> str:
    """A cell in words."""
    if cell.setting is not None:
        return GUIDANCE[cell.setting].short
    if cell.data is not None:
        return {"base": "base", "unguided": "D_ug", "guided": "D_sg"}.get(cell.data, cell.data)
    if cell.words is not None:
        return f"base with {cell.words.replace('_', ' ')}"
    if cell.method == "base":
        return "base" if cell.thinking is None else f"base, thinking {cell.thinking}"
    words = GUIDANCE.get(cell.context or "")
    context = f" {words.short if words else f'c = {cell.context}'}" if cell.context else ""
    teacher = f" with {cell.teacher} teacher" if cell.teacher else ""
    rate = f" at the {cell.rate} rate" if cell.rate else ""
    part = f" in {cell.outcome} responses" if cell.outcome else ""
    part += f" at {PARTS[cell.place]}" if cell.place else ""
    return str(cell.method).upper() + context + teacher + rate + part + (" on the whole set" if cell.problems else "")
