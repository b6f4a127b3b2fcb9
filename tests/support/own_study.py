"""A model and problems of a user's own through a whole study, on the smallest budgets that reach every table."""

import json
import shutil
from pathlib import Path

import pandas as pd
from project import ROOT, Project
from selfdistill import tables

# Laid over what `selfdistill new-study` writes.
SMALLEST = """
sampling:
  collect: &all {{temperature: {temperature}, top_p: 1.0, top_k: 0, max_tokens: {tokens}}}
  train: *all
  evaluate: *all
models: {{mine: {{instruction: {instruction}}}}}
selection: {{rollouts: 4, low: 0.25, high: 1.0, target: 2, batch: 4}}
guidance: {{samples: 2}}
sft: {{responses: 4, at_least: 2, per_problem: 2, max_draws: 16, epochs: 1, batch_size: 2, warmup_steps: 0}}
evaluation: {{samples: 2}}
onpolicy: {{steps: 2, checkpoint_steps: [1, 2], batch_size: 2, rollouts: 2, evaluation_samples: 2, window: 1}}
"""


def whole_study(
    folder: Path,
    model: Path,
    problems: dict[str, str],
    benchmark: dict[str, str],
    *,
    instruction: str,
    tokens: int,
    temperature: float = 1.0,
) -> Path:
    """Run a study of the saved ``model`` to its end and its report; the folder of its results.

    ``problems`` and ``benchmark``: answers by problem.
    """
    project = Project.copy_to(folder)
    shutil.copytree(model, project.folder / "mine")
    for name, asked in (("train", problems), ("test", benchmark)):
        rows = [json.dumps({"problem": problem, "answer": answer}) for problem, answer in asked.items()]
        (project.folder / f"{name}.jsonl").write_text("\n".join(rows))
    written = ("--model", "mine", "--problems", "train.jsonl", "--benchmarks", "test.jsonl", "--out", "mine.yaml")
    run(project, "selfdistill", "new-study", *written)
    overlay = SMALLEST.format(tokens=tokens, temperature=temperature, instruction=json.dumps(instruction))
    (project.folder / "smallest.yaml").write_text(overlay)
    study = ("--cores", "2", "--configfile", "mine.yaml", "smallest.yaml")
    run(project, "snakemake", *study)
    run(project, "snakemake", "--report", "report.zip", *study)
    assert (project.folder / "report.zip").stat().st_size > 100_000
    return project.folder / "results" / "mine"


def run(project: Project, *arguments: str) -> None:
    status, output = project.run(*arguments)
    assert status == 0, output[-6000:]


def check_whole(results: Path) -> None:
    """Every table, figure and page of such a study is there and speaks of its model."""
    summaries = ("table_1", "table_a1", "table_2", "table_3", "table_onpolicy", "table_rates")
    for name in summaries:
        table = tables.read(results / "tables" / f"{name}.parquet", tables.SUMMARY)
        assert len(table[table["origin"] == "measured"])
    for name in ("fig_2", "fig_3", "table_1", "marker_breakdown", "selection", "table_2", "sft_curves"):
        assert (results / "figures" / f"{name}.pdf").stat().st_size > 0
    assert not (results / "figures" / "fig_4.pdf").exists()
    curves = tables.read(results / "curves" / "fig_3.parquet", tables.CURVES)
    assert set(curves["family"]) == {"mine"} and set(curves["method"]) == {"grpo", "sdpo"}
    assert set(curves.loc[curves["benchmark"] == "test", "step"]) == {0, 1, 2}
    ledger = tables.read(results / "claims" / "ledger.parquet", tables.LEDGER)
    assert pd.Series(ledger["value"]).notna().any()
    assert "mine" in (results / "reading_room" / "index.html").read_text()
    assert "microcosm" not in (results / "config.yaml").read_text().replace("preset", "")
    assert "right" in (results / "evaluations" / "mine" / "base" / "first_words.md").read_text()


__all__ = ["ROOT", "check_whole", "whole_study"]
