"""The statements of `config/claims.yaml`: what is claimed, and how it is tested."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from selfdistill.analysis.words import GUIDANCE
from selfdistill.errors import UserError, one_of
from selfdistill.settings import Among, Count, Distinct, key, sentences, settings
from selfdistill.training.methods import METHODS
from selfdistill.training.settings import Context, MethodName, Rate
from selfdistill.written import read_written

Of = Literal["guidance", "sft", "training", "evaluation"]


Metric = Literal["score", "avg", "L", "E"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cell(_Strict):
    """Which responses a mean is taken over; what is not said is as usual (the whole set, a fixed teacher, the end)."""

    setting: Annotated[str, Among(GUIDANCE)] | None = None
    data: Literal["base", "unguided", "guided", "unguided_unfiltered"] | None = None
    method: Annotated[str, Among(("base", *METHODS))] | None = None
    context: Context | None = None
    teacher: Literal["fixed", "moving"] = "fixed"
    when: Literal["first", "last", "whole"] | None = None


class Test(_Strict):
    """One comparison; see the head of `config/claims.yaml`."""

    of: Of
    metric: Metric
    each: Literal["benchmark", "hardest", "few", "many"] | None = None
    when: Literal["first", "last", "whole"] = "last"
    more: Cell | None = None
    less: Cell | list[Cell] | None = None
    same: list[Cell] | None = None
    within: float | None = None
    rising: Cell | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "Test":
        forms = [self.more is not None and self.less is not None, self.same is not None, self.rising is not None]
        if sum(forms) != 1 or (self.more is None) != (self.less is None):
            raise ValueError("a test has 'more' and 'less', or 'same', or 'rising'")
        if (self.same is not None) != (self.within is not None) or (self.same is not None and len(self.same) != 2):
            raise ValueError("'same' names two means and needs 'within'")
        return self


class Claim(_Strict):
    """A statement of the paper."""

    id: str
    section: str
    statement: str
    shown_in: list[str] = []  # names of figures and tables
    role: str | None = None
    published: str = ""
    tests: list[Test] = []
    conflict: str = ""

    @model_validator(mode="after")
    def _testable_or_conflict(self) -> "Claim":
        if bool(self.tests) == bool(self.conflict) or bool(self.tests) != (self.role is not None):
            raise ValueError("a claim has a role and tests, or a conflict")
        return self


@settings
class Role:
    """Which models of a study play one of the paper's parts, and at which learning rates they were trained."""

    family: str = key(doc="Family of models.", min_length=1)
    thinking: Literal["on", "off"] = key("on", doc="With thinking on or off.")
    problem_set: str = key("train", doc="Problem set trained on.")
    rates: dict[MethodName, Distinct[Rate]] = key(
        factory=dict,
        doc="Learning rates tested of each method; each of SDPO's is a variant with a verdict of its own.",
    )
    top_k: Count = key(100, doc="Runs of SDPO with this top-k.")
    hardest: str = key("hard", doc="The harder of the unseen benchmarks.", paper="AIME24")


def read_claims(path: Path) -> list[Claim]:
    """The statements in ``path``; `UserError` with a sentence for each fault."""
    content = read_written(path)
    entries = content.get("claims") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UserError(f"{path}: expected a list of statements under 'claims'")
    claims, faults = [], []
    for number, entry in enumerate(entries, start=1):
        name = f"'{entry['id']}'" if isinstance(entry, dict) and "id" in entry else f"{number} of the list"
        try:
            claims.append(Claim.model_validate(entry))
        except ValidationError as error:
            faults += sentences(error, Claim, f"{path}: claim {name}")
    counts = Counter(claim.id for claim in claims)
    faults += [f"{path}: {count} claims are called '{name}'" for name, count in counts.items() if count > 1]
    if faults:
        raise UserError("\n".join(faults))
    return claims


def role_of(claim: Claim, roles: Mapping[str, Role | None]) -> Role | None:
    """The role that a claim is about, None where no model plays it; `UserError` for one that there is not."""
    return one_of("role", str(claim.role), roles, where=f"claim '{claim.id}'")


def _cells(test: Test) -> list[Cell]:
    less = test.less if isinstance(test.less, list) else [test.less]
    return [cell for cell in (test.more, *less, *(test.same or []), test.rising) if cell is not None]


def _listed(cell: Cell | list[Cell] | None) -> list[Cell | None]:
    return list(cell) if isinstance(cell, list) else [cell]


def _in_words(test: Test) -> str:
    quantity = {"score": "score", "avg": "accuracy", "L": "length", "E": "markers"}[test.metric]
    if test.rising is not None:
        return f"{quantity} of {_name(test.rising)} per doubling of |D| > 0"
    if test.same is not None:
        return f"|{quantity} of {_name(test.same[0])} - {_name(test.same[1])}| <= {test.within:g}"
    less = [_name(cell) for cell in _listed(test.less) if cell is not None]
    other = less[0] if len(less) == 1 else f"mean of {' and '.join(less)}"
    return f"{quantity} of {_name(test.more)} > {other}"


def _name(cell: Cell) -> str:
    if cell.setting is not None:
        return GUIDANCE[cell.setting].short
    if cell.data is not None:
        return {"base": "base", "unguided": "SFT on D_ug", "guided": "SFT on D_sg"}.get(cell.data, cell.data)
    context = f" {GUIDANCE[cell.context].short}" if cell.context else ""
    teacher = " with moving teacher" if cell.teacher == "moving" else ""
    when = {"first": " at the start", "whole": " over all of training"}.get(cell.when or "", "")
    return (cell.method.upper() if cell.method != "base" else "base") + context + teacher + when
