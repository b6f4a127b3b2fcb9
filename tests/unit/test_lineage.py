"""From a figure down to the seeds, and what `verify` finds in a tree that is not what its records say."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from selfdistill import cli, tables
from selfdistill.errors import UserError
from selfdistill.figures import plotting
from selfdistill.records import lineage, provenance, verification
from tiny import problems_of

SIDECAR = ".provenance.json"


def record(path: Path, maker: str, *inputs: Path, **parameters: object) -> None:
    provenance.write_sidecar(
        path,
        command=["selfdistill", maker, "--out", str(path)],
        inputs={f"input[{number}]": place for number, place in enumerate(inputs)},
        parameters=parameters,
        seconds=1.0,
    )


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """problems -> runs -> three figures, as a study leaves them."""
    monkeypatch.chdir(tmp_path)
    root = Path("results/small")
    problems, runs = root / "problems/train.parquet", root / "training/runs.parquet"
    tables.write(problems_of(["a", "b"]), problems, "problems")
    record(problems, "load-problems", source="microcosm", split="train", seed=7)
    row = {name: None for name in tables.RUNS.names} | {"study": "small", "model": "m", "run": "grpo"}
    tables.write(pd.DataFrame([row]), runs, "runs")
    record(runs, "list-runs", problems)
    figure = plt.figure()
    description = plotting.record(study="small", rule="draw_it", code="0123", inputs=[runs])
    (root / "figures").mkdir()
    images = [root / f"figures/it.{kind}" for kind in ("png", "svg", "pdf", "csv")]
    plotting.save(figure, images, description, pd.DataFrame({"value": [1]}))
    plt.close(figure)
    return root


@pytest.mark.parametrize("kind", ["png", "svg", "pdf", "csv"])
def test_a_figure_is_traced_to_the_seed(tree: Path, kind: str):
    lines = lineage.trace(tree / "figures" / f"it.{kind}")
    assert lines[0].startswith(f"figures/it.{kind} ")
    assert lines[1].strip() == "by draw_it, code 0123"
    assert [line.split()[0] for line in lines[2::2]] == ["training/runs.parquet", "problems/train.parquet"]
    assert "by load-problems; source microcosm, split train, seed 7" in lines[5]
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 2, 2, 4, 4, 6]
    assert "CHANGED" not in "".join(lines)


def test_a_tree_that_was_moved_and_lost_its_data_is_traced_all_the_same(tree: Path, tmp_path: Path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(tree, moved)
    (moved / "problems/train.parquet").unlink()
    lines = lineage.trace(moved / "figures/it.png")
    assert any(line.strip().startswith("problems/train.parquet") and "(not here)" in line for line in lines)
    assert any("seed 7" in line for line in lines)
    assert verification.verify(moved) == []


def test_a_changed_input_shows_in_the_chain(tree: Path):
    tables.write(problems_of(["a", "c"]), tree / "problems/train.parquet", "problems")
    assert sum("CHANGED since, was" in line for line in lineage.trace(tree / "figures/it.svg")) == 1


def change_table(tree: Path) -> None:
    tables.write(problems_of(["a", "c"]), tree / "problems/train.parquet", "problems")


def lose_record(tree: Path) -> None:
    (tree / f"training/runs.parquet{SIDECAR}").unlink()


def break_table(tree: Path) -> None:
    (tree / "training/runs.parquet").write_bytes(b"PAR1")


def rename_column(tree: Path) -> None:
    pd.DataFrame({"colour": [1]}).to_parquet(tree / "training/runs.parquet")


def lose_metadata(tree: Path) -> None:
    plt.imsave(tree / "figures/it.png", [[0.0]])


@pytest.mark.parametrize(
    ("damage", "sentences"),
    [
        (
            change_table,
            ["problems/train.parquet: differs from its record", "runs.parquet: made from another version of problems"],
        ),
        (lose_record, ["training/runs.parquet: a table without a record"]),
        (
            break_table,
            ["training/runs.parquet: not a readable table", "training/runs.parquet: differs from its record"],
        ),
        (rename_column, ["training/runs.parquet: its columns are those of no known table"]),
        (lose_metadata, ["figures/it.png: a figure without a record"]),
    ],
)
def test_damage_is_found_and_named(tree: Path, damage: Callable[[Path], None], sentences: list[str]):
    assert verification.verify(tree) == []
    damage(tree)
    found = "\n".join(verification.verify(tree))
    for sentence in sentences:
        assert sentence in found


def traces_of(problem_ids: list[str], samples: int, **labels: object) -> pd.DataFrame:
    pairs = [(problem, sample) for problem in problem_ids for sample in range(samples)]
    frame = pd.DataFrame(pairs, columns=["problem_id", "sample"])
    values = {"study": "small", "model": "m", "run": "base", "stage": "evaluation", "setting": "easy", "response": "7"}
    return frame.assign(**values | labels).reindex(columns=tables.TRACES.names)


@pytest.mark.parametrize(
    ("maker", "told", "drop", "sentence"),
    [
        ("evaluate-model", {"samples": 2}, [], None),
        ("evaluate-model", {"samples": 2}, [3], "not every problem has 2 responses"),
        (
            "evaluate-model",
            {"samples": 2},
            [2, 3],
            "holds responses to 1 problems, not to all of problems/",
        ),
        ("select-borderline", {"rollouts": 2}, [], None),
        ("select-borderline", {"rollouts": 3}, [], "not every problem has 3 responses"),
        ("train-onpolicy", {"steps": 1, "batch_size": 2, "rollouts": 2}, [], None),
        ("train-onpolicy", {"steps": 2, "batch_size": 2, "rollouts": 2}, [], "holds 4 responses, expected 8"),
        ("collect-correct", {"per_problem": 8}, [3], None),
    ],
)
def test_missing_responses_are_found(tree: Path, maker: str, told: dict, drop: list[int], sentence: str | None):
    problems = tables.read(tree / "problems/train.parquet", "problems")["problem_id"].sort_values().tolist()
    table = tree / "traces/m/some.parquet"
    tables.write(traces_of(problems, 2).drop(index=drop), table, "traces")
    record(table, maker, tree / "problems/train.parquet", **told)
    found = verification.verify(tree)
    assert [line[: len(f"traces/m/some.parquet: {sentence}")] for line in found] == (
        [f"traces/m/some.parquet: {sentence}"] if sentence else []
    )


def test_a_verdict_that_does_not_follow_is_found(tree: Path):
    rows = {name: None for name in tables.LEDGER.names}
    rows |= {
        "place": 0,
        "id": "c",
        "variant": "",
        "test": "t",
        "benchmark": "",
        "sizes": "",
        "p": 0.01,
        "p_adjusted": 0.01,
    }
    ledger = tree / "claims/ledger.parquet"

    def write(**changes: object) -> list[str]:
        tables.write(pd.DataFrame([rows | {"test_verdict": "holds", "verdict": "holds"} | changes]), ledger, "ledger")
        record(ledger, "make-ledger")
        return verification.verify(tree)

    assert write() == []
    assert "the verdict of 'c'" in write(verdict="contradicted")[0]
    assert "adjusted p-values" in write(p_adjusted=0.5)[0]


def test_the_command_line_takes_a_place_and_says_what_it_found(tree: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["verify", str(tree)]) == 0
    assert "2 tables, 3 figures, 2 records; all as recorded" in capsys.readouterr().out
    change_table(tree)
    assert cli.main(["verify", str(tree)]) == 1
    assert "2 problems" in capsys.readouterr().out
    assert cli.main(["trace", str(tree / "figures/it.png")]) == 0
    assert cli.main(["trace", "nowhere.png"]) == 2
    assert "nowhere.png: no record" in capsys.readouterr().err


def test_what_is_no_results_tree_or_no_record_is_told(tree: Path, tmp_path: Path):
    with pytest.raises(UserError, match="no results tree"):
        verification.verify(tmp_path / "nothing")
    (tree / f"problems/train.parquet{SIDECAR}").write_text(json.dumps({"command": []}))
    with pytest.raises(UserError, match="not a provenance record"):
        verification.verify(tree)
