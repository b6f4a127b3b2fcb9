"""From a figure down to the seeds, and what `verify` finds in a tree that is not what its records say."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from project import ROOT
from selfdistill import cli, files, tables
from selfdistill.claims.ledger import judged
from selfdistill.errors import UserError
from selfdistill.figures import plotting
from selfdistill.records import bundle, lineage, provenance, verification
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
    tables.write(problems_of(["a", "b"]), problems, tables.PROBLEMS)
    record(problems, "load-problems", source="microcosm", split="train", seed=7)
    row = {name: None for name in tables.RUNS.columns} | {"study": "small", "model": "m", "run": "grpo"}
    tables.write(pd.DataFrame([row]), runs, tables.RUNS)
    record(runs, "list-runs", problems)
    figure = plt.figure()
    description = plotting.record(study="small", rule="draw_it", code="0123", inputs=[runs])
    (root / "figures").mkdir()
    images = [root / f"figures/it.{kind}" for kind in ("png", "svg", "pdf", "csv")]
    plotting.save(figure, images, description, pd.DataFrame({"value": [1]}))
    plt.close(figure)
    return root


@pytest.fixture(params=["sidecars", "bundle"])
def recorded(request: pytest.FixtureRequest, tree: Path) -> Path:
    """The tree in both forms: as jobs leave it, and as it is shipped."""
    if request.param == "bundle":
        bundle.bundle(tree)
        assert not list(tree.rglob(f"*{SIDECAR}"))
    return tree


def test_a_file_is_traced_through_links_into_its_tree_and_in_it(recorded: Path, tmp_path: Path):
    figure = recorded / "figures/it.png"
    straight = lineage.trace(figure)
    assert len(straight) > 4 and not [line for line in straight if "not here" in line]
    (tmp_path / "paper").mkdir()
    for link, target in (("paper/figures", recorded / "figures"), ("paper/one.png", figure)):
        (tmp_path / link).symlink_to(target.absolute())
    assert lineage.trace(tmp_path / "paper/figures/it.png") == straight
    assert lineage.trace(tmp_path / "paper/one.png") == straight
    (recorded / "figures").rename(tmp_path / "figures")
    (recorded / "figures").symlink_to(tmp_path / "figures")
    assert lineage.trace(figure) == straight


@pytest.mark.parametrize("kind", ["png", "svg", "pdf", "csv"])
def test_a_figure_is_traced_to_the_seed(recorded: Path, kind: str):
    lines = lineage.trace(recorded / "figures" / f"it.{kind}")
    assert lines[0].startswith(f"figures/it.{kind} ")
    assert lines[1].strip() == "by draw_it, code 0123"
    assert [line.split()[0] for line in lines[2::2]] == ["training/runs.parquet", "problems/train.parquet"]
    assert "by load-problems; source microcosm, split train, seed 7" in lines[5]
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 2, 2, 4, 4, 6]
    assert "CHANGED" not in "".join(lines)


def test_an_accuracy_along_training_is_traced_through_its_models_though_they_are_deleted(recorded: Path):
    manifest, steps = recorded / "models/m/grpo/step-2/manifest.json", recorded / "training/m/grpo.parquet"
    along, content = recorded / "evaluations/m/grpo/along_training.parquet", {"kind": "files"}
    for path in (manifest, steps, along):
        files.write_text(path, json.dumps(content))
    record(along, "evaluate-checkpoints", recorded / "problems/train.parquet", manifest)
    provenance.write_sidecar(
        steps,
        command=["selfdistill", "train-onpolicy"],
        inputs={"problems": recorded / "problems/train.parquet"},
        parameters={"run": "grpo"},
        seconds=1.0,
        along={"step-2": manifest},
    )
    digest = files.sha256_file(manifest)[:12]
    made = ["models/m/grpo/step-2/manifest.json " + digest, "by train-onpolicy; run grpo"]
    for deleted in (False, True):
        if deleted:
            shutil.rmtree(manifest.parents[1])
        lines = [line.strip() for line in lineage.trace(along)]
        first = next(number for number, line in enumerate(lines) if line.startswith("models/"))
        assert lines[first] == made[0] + " (not here)" * deleted and lines[first + 1].startswith(made[1])
        assert lines[first + 2].startswith("problems/train.parquet")
        assert lineage.trace(manifest)[0] == lines[first]
    files.write_text(manifest, "another model")
    assert any("CHANGED" in line for line in lineage.trace(along))


def test_a_tree_that_was_moved_and_lost_its_data_is_traced_all_the_same(recorded: Path, tmp_path: Path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(recorded, moved)
    (moved / "problems/train.parquet").unlink()
    lines = lineage.trace(moved / "figures/it.png")
    assert any(line.strip().startswith("problems/train.parquet") and "(not here)" in line for line in lines)
    assert any("seed 7" in line for line in lines)
    assert lineage.trace(moved / "problems/train.parquet")[0].endswith("(not here)")
    assert verification.verify(moved) == ["problems/train.parquet: missing, though its record is here"]


def test_a_tree_that_is_shared_without_its_data_is_whole_but_must_lose_no_more(tree: Path):
    (tree / "problems/train.parquet").unlink()
    for _ in range(2):  # a bundle is read and written again
        bundle.bundle(tree)
        assert verification.verify(tree) == []
    (tree / "training/runs.parquet").unlink()
    missing = ["training/runs.parquet: missing, though its record is here"]
    assert verification.verify(tree) == missing
    bundle.bundle(tree)
    assert verification.verify(tree) == missing


def test_a_table_is_traced_alike_from_sidecars_and_bundle(tree: Path):
    before = lineage.trace(tree / "training/runs.parquet")
    bundle.bundle(tree)
    assert lineage.trace(tree / "training/runs.parquet") == before
    shutil.move(tree / "training", tree.parent / "alone")  # no tree around it, nothing beside it
    with pytest.raises(
        UserError, match=r"no record .*\(expected runs\.parquet\.provenance\.json, a line of provenance"
    ):
        lineage.trace(tree.parent / "alone/runs.parquet")


def test_a_changed_input_shows_in_the_chain(recorded: Path):
    tables.write(problems_of(["a", "c"]), recorded / "problems/train.parquet", tables.PROBLEMS)
    assert sum("CHANGED since, was" in line for line in lineage.trace(recorded / "figures/it.svg")) == 1


def lines_of(tree: Path) -> list[str]:
    return (tree / "provenance.jsonl").read_text().splitlines(keepends=True)


def change_table(tree: Path) -> None:
    tables.write(problems_of(["a", "c"]), tree / "problems/train.parquet", tables.PROBLEMS)


def lose_record(tree: Path) -> None:
    (tree / f"training/runs.parquet{SIDECAR}").unlink(missing_ok=True)
    if (tree / "provenance.jsonl").is_file():
        kept = [line for line in lines_of(tree) if json.loads(line)["path"] != "training/runs.parquet"]
        (tree / "provenance.jsonl").write_text("".join(kept))


def break_table(tree: Path) -> None:
    (tree / "training/runs.parquet").write_bytes(b"PAR1")


def rename_column(tree: Path) -> None:
    pd.DataFrame({"colour": [1]}).to_parquet(tree / "training/runs.parquet")


def lose_metadata(tree: Path) -> None:
    plt.imsave(tree / "figures/it.png", [[0.0]])


def break_figure(tree: Path) -> None:
    (tree / "figures/it.png").write_bytes(b"\x89PNG")


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
        (break_figure, ["figures/it.png: its metadata hold no record"]),
    ],
)
def test_damage_is_found_and_named(recorded: Path, damage: Callable[[Path], None], sentences: list[str]):
    assert verification.verify(recorded) == []
    damage(recorded)
    found = "\n".join(verification.verify(recorded))
    for sentence in sentences:
        assert sentence in found


def whole(tree: Path) -> dict:
    return json.loads(lines_of(tree)[0])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (lambda tree: "<<<<<<< ours", "not a provenance record (no JSON object)"),
        (lambda tree: lines_of(tree)[0][:-9], "not a provenance record (no JSON object)"),
        (lambda tree: "[1]", "not a provenance record (no JSON object)"),
        (lambda tree: "", "not a provenance record (no JSON object)"),
        (lambda tree: json.dumps({"path": "x", "command": []}), "not a provenance record (no valid sha256, inputs,"),
        (lambda tree: json.dumps(whole(tree) | {"path": "x", "git": 5}), "not a provenance record (no valid git)"),
        (lambda tree: json.dumps(whole(tree) | {"path": "x", "command": ["selfdistill"]}), "a command without a stage"),
        (lambda tree: json.dumps(whole(tree) | {"path": "x", "inputs": {"a": "b"}}), "no valid path and sha256 of ev"),
        (lambda tree: json.dumps(whole(tree) | {"path": None}), "not a line of a bundle (no valid path)"),
        (lambda tree: json.dumps(whole(tree) | {"path": "problems//train.parquet"}), "a second record of 'problems/tr"),
        (
            lambda tree: json.dumps(whole(tree) | {"path": "../other/x"}),
            "the path '../other/x' lies outside of the tree",
        ),
        (lambda tree: json.dumps(whole(tree) | {"path": "/etc/x"}), "the path '/etc/x' lies outside of the tree"),
        (lambda tree: json.dumps(whole(tree) | {"path": "."}), "the path '.' lies outside of the tree"),
    ],
)
def test_a_damaged_line_is_named_and_the_rest_is_verified_all_the_same(
    tree: Path, line: Callable[[Path], str], sentence: str, capsys: pytest.CaptureFixture[str]
):
    bundle.bundle(tree)
    first, second = lines_of(tree)
    (tree / "provenance.jsonl").write_text(f"{first}{line(tree)}\n{second}")
    (said,) = verification.verify(tree)
    assert said.startswith(f"{tree}/provenance.jsonl, line 2: ") and sentence in said
    change_table(tree)
    found = verification.verify(tree)
    assert found[0] == said and found[1:] == [
        "problems/train.parquet: differs from its record",
        "training/runs.parquet: made from another version of problems/train.parquet",
    ]
    assert cli.main(["trace", str(tree / "figures/it.png")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(said.removeprefix(str(tree)))


def test_bytes_that_are_no_text_damage_one_line_only(tree: Path):
    bundle.bundle(tree)
    first, second = lines_of(tree)
    (tree / "provenance.jsonl").write_bytes(first.encode() + second.encode().replace(b"runs", b"r\xffns", 1))
    found = verification.verify(tree)
    assert found[0].endswith("provenance.jsonl, line 2: not a provenance record (no JSON object)")
    assert found[1:] == ["training/runs.parquet: a table without a record"]


SHIPPED = ROOT / "results/reference/microcosm"


@pytest.mark.parametrize("share", [0, 0.5, 1])
@pytest.mark.parametrize(
    "place", ["tables/table_1.parquet", "tables/table_2.csv", "claims/ledger.parquet", "config.yaml"]
)
def test_one_edited_byte_of_a_shipped_file_is_named(tmp_path: Path, place: str, share: float):
    root = tmp_path / "shipped"
    shutil.copytree(SHIPPED, root)
    content = bytearray((root / place).read_bytes())
    content[round(share * (len(content) - 1))] ^= 1
    (root / place).write_bytes(content)
    assert f"{place}: differs from its record" in verification.verify(root)


def test_the_shipped_study_is_as_recorded_and_holds_no_sidecar():
    root = ROOT / "results/reference/microcosm"
    assert verification.verify(root) == [] and not list(root.rglob(f"*{SIDECAR}"))
    assert any("by pretrain-model" in line for line in lineage.trace(root / "figures/fig_3.png"))


def traces_of(problem_ids: list[str], samples: int, **labels: object) -> pd.DataFrame:
    pairs = [(problem, sample) for problem in problem_ids for sample in range(samples)]
    frame = pd.DataFrame(pairs, columns=["problem_id", "sample"])
    values = {"study": "small", "model": "m", "run": "base", "stage": "evaluation", "setting": "easy", "response": "7"}
    return frame.assign(**values | labels).reindex(columns=tables.TRACES.columns)


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
    problems = tables.read(tree / "problems/train.parquet", tables.PROBLEMS)["problem_id"].sort_values().tolist()
    table = tree / "traces/m/some.parquet"
    tables.write(traces_of(problems, 2).drop(index=drop), table, tables.TRACES)
    record(table, maker, tree / "problems/train.parquet", **told)
    found = verification.verify(tree)
    assert [line[: len(f"traces/m/some.parquet: {sentence}")] for line in found] == (
        [f"traces/m/some.parquet: {sentence}"] if sentence else []
    )


def test_a_verdict_that_does_not_follow_is_found(tree: Path):
    row = {name: None for name in tables.LEDGER.columns} | dict.fromkeys(
        ["variant", "benchmark", "part", "same_as"], ""
    )
    row |= {"place": 0, "id": "c", "test": "t", "primary": False, "models": 16, "p_for": 0.01, "p_against": 0.99}
    ledger = tree / "claims/ledger.parquet"

    def write(**changes: object) -> list[str]:
        made = judged(pd.DataFrame([row | {"p_within": 1.0}]))
        tables.write(made.assign(**changes), ledger, tables.LEDGER)
        record(ledger, "make-ledger")
        return verification.verify(tree)

    assert write() == []
    assert "the verdict of 'c'" in write(verdict="contradicted")[0]
    assert "adjusted p-values" in write(p_adjusted=0.5)[0]
    assert "the verdict of 'c'" in write(p_for=0.2)[1]


def test_the_command_line_takes_a_place_and_says_what_it_found(recorded: Path, capsys: pytest.CaptureFixture[str]):
    tree = recorded
    assert cli.main(["verify", str(tree)]) == 0
    assert "2 tables, 3 figures, 2 records; all as recorded" in capsys.readouterr().out
    change_table(tree)
    assert cli.main(["verify", str(tree)]) == 1
    assert "2 problems" in capsys.readouterr().out
    assert cli.main(["trace", str(tree / "figures/it.png")]) == 0
    assert cli.main(["trace", "nowhere.png"]) == 2
    assert "nowhere.png: no such file, and no record of one" in capsys.readouterr().err


def test_a_name_that_is_no_file_is_told_as_such(tree: Path):
    with pytest.raises(UserError, match=r"problems: a folder, where a table or figure in it is expected"):
        lineage.trace(tree / "problems")
    with pytest.raises(UserError, match=r"no such file, and no record of one \(did you mean 'train\.parquet'\?\)"):
        lineage.trace(tree / "problems" / "trian.parquet")


def test_what_is_no_results_tree_or_no_record_is_told(tree: Path, tmp_path: Path):
    with pytest.raises(UserError, match="no results tree"):
        verification.verify(tmp_path / "nothing")
    sidecar = tree / f"problems/train.parquet{SIDECAR}"
    sidecar.write_text(json.dumps({"command": []}))
    found = verification.verify(tree)
    assert found[0].startswith(f"{sidecar}: not a provenance record (no valid sha256, inputs,")
    assert found[1:] == ["problems/train.parquet: a table without a record"]
    with pytest.raises(UserError, match=r"train\.parquet\.provenance\.json: not a provenance record"):
        lineage.trace(tree / "training/runs.parquet")
