"""The claims ledger for other programs: `claims/claims.json`, whose keys docs/claims_json.md explains."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill.claims.statements import Conflict
from selfdistill.claims.verdicts import CONTRADICTED, HOLDS, LEVEL, NO_EFFECT, plain
from selfdistill.errors import one_of
from selfdistill.files import sha256_file
from selfdistill.generation.requests import WORDED
from selfdistill.records.attempts import BENCHMARK as SUFFIX
from selfdistill.records.attempts import is_whole
from selfdistill.training.settings import RELEASED

FORMAT = 1
PAPER = "arXiv:2603.24472v1"
SCALES = {
    "microcosm": "Scale: microcosm, tiny models trained from scratch on a CPU; not the paper's models.",
    "one GPU": "Scale: one GPU, smaller models than the paper's.",
    "paper": "Scale: the paper's models.",
}
UNITS = {
    "score": "share", "avg": "points", "L": "tokens", "E": "markers", "density": "markers per 1,000 tokens",
    "doubt": "markers", "V": "share", "kept": "share", "information": "nats", "gain": "points",
    "correlation": "rank correlation",
}  # fmt: skip
# Each verdict in the words in which reproductions are reported, as a statement about the paper's models.
PUBLIC = {HOLDS: "verified", CONTRADICTED: "falsified", NO_EFFECT: "falsified"}
TOY, INCONCLUSIVE = "toy", "inconclusive"


def exported(
    ledger: pd.DataFrame,
    effects: pd.DataFrame,
    conflicts: Sequence[Conflict],
    *,
    study: str,
    scale: str,
    note: str = "",
    results: Path,
    logs: Path,
) -> dict[str, Any]:
    """The content of `claims.json`.

    ``ledger`` and ``effects`` in their schemas; ``note``: of the study, as configured; ``results``: its folder, whose
    files are named by their digest; ``logs``: that of its benchmark files, which say what jobs took. `UserError` for an
    unknown ``scale``.
    """
    one_of("scale", scale, SCALES)
    each = {key: rows for key, rows in effects.groupby(["id", "variant", "test", "benchmark", "part"])}
    files = sorted({name for names in ledger["files"] for name in names})
    return {
        "format": FORMAT,
        "paper": PAPER,
        "study": study,
        "scale": scale,
        "note": note,
        "level": LEVEL,
        "statements": [
            _statement(rows, each, scale, logs) for _, rows in ledger.groupby(["place", "variant"], sort=True)
        ],
        "conflicts": [conflict.model_dump() for conflict in conflicts],
        "files": {name: sha256_file(results / name) for name in files},
    }


def public_word(verdict: str, scale: str) -> str:
    """A verdict in public words: of the microcosm any verdict is "toy", as it is about none of the paper's models."""
    word = PUBLIC.get(plain(verdict), INCONCLUSIVE)
    return TOY if word != INCONCLUSIVE and scale == "microcosm" else word


def _statement(rows: pd.DataFrame, each: dict[Any, pd.DataFrame], scale: str, logs: Path) -> dict[str, Any]:
    first = rows.iloc[0]
    names = ("id", "section", "statement", "variant", "verdict", "ours", "taught", "primary", "expects", "same_as")
    files = sorted({name for listed in rows["files"] for name in listed})
    return {
        **{name: _plain(first[name]) for name in names},
        "public": public_word(first["verdict"], scale),
        "correction": {"name": _plain(first["correction"]), "statements": _count(first["family"])},
        **{name: _plain(first[name]) for name in ("p", "p_adjusted", "p_no_effect", "published", "note")},
        "tests": [_test(row, each) for _, row in rows.iterrows()] if not first["same_as"] else [],
        "cost": cost(files, logs),
        "files": files,
    }


def _test(row: pd.Series, each: dict[Any, pd.DataFrame]) -> dict[str, Any]:
    by_model = each.get(tuple(row[name] for name in ("id", "variant", "test", "benchmark", "part")))
    names = ("test", "of", "metric", "benchmark", "part", "claim", "margin", "p_for", "p_against", "p_within")
    effect = {name: _plain(row[name]) for name in ("value", "low", "high", "plain_low", "plain_high", "confidence")}
    return {
        **{name: _plain(row[name]) for name in names},
        "effect": {**effect, "unit": UNITS.get(str(row["metric"]), "")},
        "base_models": _count(row["models"]),
        "problems": _count(row["problems"]),
        "models_needed": _count(row["models_needed"]),
        "by_base_model": {} if by_model is None else dict(zip(by_model["model"], by_model["value"], strict=True)),
        "remark": _plain(row["remark"]) or "",
    }


def cost(files: Iterable[str], logs: Path) -> dict[str, Any]:
    """What the jobs took that made ``files``: their models' training on the way, pre-training apart.

    Null where a job has no benchmark file, or only that of a last attempt; ``jobs`` and ``unmeasured`` count them.
    """
    wanted = sorted({job for name in files for job in _jobs(Path(name))})
    found = [_measured(logs / f"{job}{SUFFIX}") for job in wanted]
    known = [seconds for seconds in found if seconds is not None]
    complete = len(known) == len(wanted) and bool(wanted)
    return {
        "jobs": len(wanted),
        "unmeasured": len(wanted) - len(known),
        "processor_minutes": round(sum(processor for _, processor in known) / 60, 2) if complete else None,
        "hours": round(sum(wall for wall, _ in known) / 3600, 4) if complete else None,
    }


def _jobs(file: Path) -> Iterator[str]:
    """The jobs behind a file of responses, by the place of their benchmark file."""
    kind, model, *rest = file.with_suffix("").parts
    if kind == "traces" and rest[0] == "rollouts":
        yield f"train_onpolicy/{model}/{rest[1]}"
    elif kind == "traces":
        yield f"select_borderline/{model}"
        if rest[0] != "selection":
            yield f"sample_guidance/{model}/{rest[0]}"
    elif kind == "information":
        yield from _jobs(Path("traces", model, *rest))
        yield f"measure_information/{model}/{rest[0]}"
    elif kind == "alignment":
        yield from (f"{rule}/{model}" for rule in ("select_borderline", "measure_alignment"))
        yield f"sample_guidance/{model}/unguided"
    elif kind == "datasets":
        yield from _sets_of(model)
    elif rest[-1] == "along_training":
        if not rest[0].endswith(RELEASED):
            yield f"train_onpolicy/{model}/{rest[0]}"
        yield f"evaluate_checkpoints/{model}/{rest[0]}"
    else:
        yield f"evaluate_model/{model}/{rest[0]}/{rest[1]}"
        if rest[0] != "base" and not rest[0].startswith(WORDED):
            yield f"train_sft/{model}/{rest[0]}"
            yield from _sets_of(model)


def _sets_of(model: str) -> Iterator[str]:
    yield f"select_borderline/{model}"
    yield from (f"collect_correct/{model}/{setting}" for setting in ("solution", "unguided"))
    yield f"build_sft_sets/{model}"


def _measured(path: Path) -> tuple[float, float] | None:
    """Seconds by the clock and of processors; None without a benchmark file of the whole job that says both."""
    if not path.is_file() or not is_whole(path):
        return None
    row = pd.read_csv(path, sep="\t").iloc[-1]
    wall, processor = (float(pd.to_numeric(row[name], errors="coerce")) for name in ("s", "cpu_time"))
    return None if pd.isna(wall) or pd.isna(processor) else (wall, processor)


def _count(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def _plain(value: Any) -> Any:
    """A cell of a table as JSON has it: null where there is nothing."""
    if value is None or pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
