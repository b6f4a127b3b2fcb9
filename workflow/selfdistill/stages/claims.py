"""The claims ledger and the reading room."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from selfdistill.claims.statements import Role
from selfdistill.pages.reading_room import Limits
from selfdistill.parameters import (
    Confidence,
    Engine,
    Models,
    Out,
    ProblemTables,
    ResultsFolder,
    RunTable,
    SftRunTable,
    StudyName,
    Traces,
    Window,
)
from selfdistill.stages.registry import STEP, stage

Ledger = Annotated[Path, "Table of the claims ledger."]
ScaleName = Annotated[str, "Scale of the study: microcosm, one GPU or paper."]
Note = Annotated[str, "What stands above the ledger."]


@stage(STEP)
def make_ledger(
    *,
    claims: Annotated[Path, "The statements (config/claims.yaml)."],
    guidance: Traces,
    information: Annotated[Sequence[Path], "Tables of what contexts tell of responses."] = (),
    alignment: Annotated[Sequence[Path], "Tables of what steps along gradients do to success."] = (),
    selection: Annotated[list[Path], "Tables of the responses among which c = s is found."],
    sets: Annotated[Sequence[Path], "Data sets of fine-tuning."] = (),
    sft: Traces = (),
    sft_runs: SftRunTable,
    runs: RunTable,
    rollouts: Traces = (),
    evaluations: Traces,
    bases: Traces,
    roles: Annotated[dict[str, Role | None], "Which models play the paper's parts, as JSON."],
    models: Models,
    window: Window,
    rollouts_per_prompt: Annotated[int, "Rollouts per prompt and step."],
    confidence: Confidence,
    out: Out,
    out_effects: Annotated[Path, "Where the effects of each base model go."],
) -> None:
    """Test the paper's statements on a study's responses."""
    from selfdistill import tables
    from selfdistill.claims import units
    from selfdistill.claims.ledger import ledger
    from selfdistill.claims.statements import read_claims

    tested = units.read_units(
        guidance=guidance,
        information=information,
        alignment=alignment,
        selection=selection,
        sets=sets,
        sft=sft,
        sft_runs=sft_runs,
        runs=runs,
        rollouts=rollouts,
        evaluations=evaluations,
        bases=bases,
        models=models,
        window=window,
        rollouts_per_prompt=rollouts_per_prompt,
    )
    found, effects = ledger(read_claims(claims), tested, roles, confidence=confidence)
    tables.write(found, out, tables.LEDGER)
    tables.write(effects, out_effects, tables.EFFECTS)


@stage(STEP)
def export_claims(
    *,
    ledger: Ledger,
    effects: Annotated[Path, "Table of the effects of each base model."],
    claims: Annotated[Path, "The statements (config/claims.yaml)."],
    results: ResultsFolder,
    logs: Annotated[Path, "Folder of the jobs' benchmark files."],
    study: StudyName,
    scale: ScaleName,
    note: Note = "",
    out: Out,
) -> None:
    """Write the claims ledger for other programs to read (docs/claims_json.md)."""
    import json

    from selfdistill import tables
    from selfdistill.claims.export import exported
    from selfdistill.claims.statements import read_statements
    from selfdistill.files import write_text

    table, each = tables.read(ledger, tables.LEDGER), tables.read(effects, tables.EFFECTS)
    _, conflicts = read_statements(claims)
    content = exported(table, each, conflicts, study=study, scale=scale, note=note, results=results, logs=logs)
    write_text(out, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


@stage(STEP)
def render_ledger(
    *,
    ledger: Ledger,
    claims: Annotated[Path, "The statements (config/claims.yaml)."],
    study: StudyName,
    scale: ScaleName,
    note: Note = "",
    out_markdown: Out,
    out_html: Out,
    out_front: Out,
) -> None:
    """Write the claims ledger as Markdown, as a page, and as the part of a page that the report begins with."""
    from selfdistill import tables
    from selfdistill.claims.statements import read_statements
    from selfdistill.files import write_text
    from selfdistill.pages import ledger_page

    table, (_, conflicts) = tables.read(ledger, tables.LEDGER), read_statements(claims)
    write_text(out_markdown, ledger_page.markdown(table, conflicts, study, scale, note))
    write_text(out_html, ledger_page.html(table, conflicts, study, scale, note))
    write_text(out_front, ledger_page.front(table, conflicts, scale, note))


@stage(STEP)
def build_reading_room(
    *,
    traces: Traces,
    problem_sets: ProblemTables,
    runs: RunTable,
    sft_runs: SftRunTable,
    page: Annotated[Path, "The page's frame (HTML)."],
    style: Annotated[Path, "Its style (CSS)."],
    script: Annotated[Path, "Its script."],
    limits: Limits,
    examples: Annotated[Path | None, "Rows of Figure 2 (CSV), whose problem is shown with all responses."] = None,
    study: StudyName,
    out: Out,
    out_data: Annotated[Path, "Folder of the page's data."],
) -> None:
    """Make the page on which all responses can be read side by side, with its data beside it."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.pages import reading_room

    reading_room.build(
        traces,
        problem_sets,
        tables.read(runs, tables.RUNS),
        tables.read(sft_runs, tables.SFT_RUNS),
        parts=reading_room.Parts(page, style, script),
        study=study,
        limits=limits,
        whole=() if examples is None else set(pd.read_csv(examples, dtype={"problem_id": str})["problem_id"]),
        out=out,
        data=out_data,
    )


@stage(STEP)
def prove(
    *,
    results: ResultsFolder,
    logs: Annotated[Path, "Folder of the jobs' benchmark files."],
    study: StudyName,
    engine: Engine,
    sharding: Annotated[dict[str, str], "By training rule, how a model lies on its processes, as JSON."],
    out: Out,
) -> None:
    """Write what a finished trial has proved."""
    from selfdistill.files import write_text
    from selfdistill.planning.proved import proved

    write_text(out, proved(results, logs, study=study, engine=engine, sharding=sharding))


@stage(STEP)
def record_config(*, values: Annotated[dict[str, Any], "The configuration, as JSON."], out: Out) -> None:
    """Write the configuration of a study beside its results."""
    import yaml

    from selfdistill.files import write_text

    write_text(out, yaml.safe_dump(values, sort_keys=False))
