"""What config/costs.yaml says a job costs before any is measured: rates, lengths and seconds by kind of models."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import yaml

from selfdistill.config import Config
from selfdistill.errors import UserError, nearest
from selfdistill.planning.ranges import Range, parse

COSTS = Path("config/costs.yaml")
Kind = Literal["microcosm", "small", "published"]


@dataclass(frozen=True)
class Assumptions:
    """The part of the cost table for one kind of models."""

    kind: Kind
    values: Mapping[str, Any]
    rules: Mapping[str, Mapping[str, Any]]
    small: frozenset[str] = frozenset()  # the repositories that the part for small models is about

    def number(self, *keys: str) -> Range:
        """The entry under ``keys``; `UserError` where the table has none."""
        found: Any = self.values
        for key in keys:
            if not isinstance(found, Mapping) or key not in found:
                raise UserError(f"{COSTS}: {self.kind}: no '{'.'.join(keys)}'")
            found = found[key]
        return parse(found, f"{COSTS}: {self.kind}.{'.'.join(keys)}")

    def length(self, what: str, thinking: bool) -> Range:
        """Expected tokens of a response; one without thinking may have an entry of its own, ``what``_off."""
        own = f"{what}_off"
        return self.number("responses", own if not thinking and own in self.values["responses"] else what)

    def seconds(self, rule: str) -> Range:
        """Seconds of a job of ``rule`` beside its tokens, by its own line or else by the first pattern that it fits.

        `UserError` saying what to add where there is no line.
        """
        line = rule if rule in self.rules else next((name for name in self.rules if fnmatchcase(rule, name)), None)
        if line is None:
            raise UserError(
                f"{COSTS}: rules: no line for rule '{rule}'{nearest(rule, self.rules)}; add one such as "
                f"'{rule}: {{microcosm: 2, published: [2, 10, 60]}}', seconds of one job, and, if the rule samples or "
                "trains, a function in workflow/selfdistill/planning/work.py"
            )
        kind = self.kind if self.kind in self.rules[line] or self.kind == "microcosm" else "published"
        return parse(self.rules[line].get(kind), f"{COSTS}: rules.{line}.{kind}")

    def parameters(self, repo: str | None) -> float:
        """Parameters of a model, by its repository."""
        known = self.values["parameters"]
        return float(known.get(repo, known["default"]))

    def slower(self, repo: str | None) -> float:
        """How much longer a model takes to draw a token than by its parameters alone."""
        return float(self.values.get("slower", {}).get(repo, 1.0))

    @property
    def default_parameters(self) -> float:
        """Those of the models that the rates were stated for."""
        return float(self.values["parameters"]["default"])

    @property
    def origin(self) -> str:
        """ "measured elsewhere" or "assumed"."""
        return str(self.values["origin"])

    @property
    def spread(self) -> Range:
        """Factor by which another machine or study may differ."""
        low, high = self.values["spread"]
        return Range(low, 1.0, high)

    @property
    def checkpoints(self) -> int:
        """Those of the on-policy runs that the seconds of rules are stated for."""
        return int(self.values["checkpoints"])

    @property
    def gpus(self) -> int:
        """GPUs of a job that samples or trains, where no profile says; 0 for models that run on a CPU."""
        return int(self.values.get("gpus", 0))

    def rate(self, name: str) -> Range:
        """Tokens per second and device."""
        return self.number("rates", name)

    def known_size(self, problem_set: str) -> Range:
        """Problems in a set of which a configuration keeps all."""
        return self.number("problems", problem_set if problem_set in self.values["problems"] else "other")


def kind_of(config: Config, small: Collection[str]) -> Kind:
    """Which part of the table is about a study's models; ``small``: the repositories of small ones."""
    models = [model for model in config.models.values() if model.source != "model"]
    if all(model.source == "microcosm" for model in models):
        return "microcosm"
    return "small" if all(model.repo in small for model in models) else "published"


def read(config: Config, root: Path = Path()) -> Assumptions:
    """The table's part for ``config``'s models; `UserError` where the file is missing or is no table."""
    try:
        content = yaml.safe_load((root / COSTS).read_text(encoding="utf-8"))
        small = frozenset(content["small"]["parameters"]) - {"default"}
        kind = kind_of(config, small)
        return Assumptions(kind, content[kind], content["rules"], small)
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        raise UserError(
            f"{root / COSTS}: expected a table with 'microcosm', 'small', 'published' and 'rules'"
        ) from None
