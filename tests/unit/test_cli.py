"""The command line: flags from signatures, one-sentence errors, and a sidecar beside every output."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from selfdistill import cli, files, stages, tables
from selfdistill.generation import Sampling
from selfdistill.records import attempts, provenance
from selfdistill.settings import keys
from selfdistill.training.settings import SdpoSettings, SftSettings

GROUPS = [stages.STEP, stages.QUESTION, stages.EXPORT, stages.UPKEEP]


def run(capsys, *arguments):
    status = cli.main(list(arguments))
    return status, capsys.readouterr().err


def test_a_stage_writes_its_output_and_its_sidecar(tmp_path, capsys):
    source = tmp_path / "problems.jsonl"
    source.write_text('{"problem": "What is 1+1?", "answer": "2"}\n')
    out = tmp_path / "problems.parquet"
    status, _ = run(
        capsys, "load-problems", "--problem-set.source", "file", "--problem-set.file", str(source), "--out", str(out)
    )
    assert status == 0
    assert tables.read(out, tables.PROBLEMS)["answer"].tolist() == ["2"]
    record = json.loads(provenance.sidecar_path(out).read_text())
    assert record["sha256"] == files.sha256_file(out)
    assert record["inputs"]["problem_set.file"]["sha256"] == files.sha256_file(source)
    assert record["parameters"]["problem_set.source"] == "file"
    assert record["command"][:2] == ["selfdistill", "load-problems"]
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", record["packages"]["torch"])


def test_bad_input_is_one_line_and_status_2(tmp_path, capsys):
    out = tmp_path / "problems.parquet"
    status, errors = run(
        capsys,
        "load-problems",
        "--problem-set.source=file",
        f"--problem-set.file={tmp_path}/none.jsonl",
        "--out",
        str(out),
    )
    assert status == 2
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if line.startswith("selfdistill: ")]
    assert "none.jsonl" in line
    assert not out.exists() and not provenance.sidecar_path(out).exists()


@pytest.mark.parametrize("page", ["none.md", "folder", "file/none.md"])
def test_a_file_that_is_not_there_or_no_file_is_one_line(page, tmp_path, monkeypatch, capsys):
    """Whatever a command makes of it, and only if it was named: a file of our own that is gone is a fault of ours."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    status, errors = run(capsys, "show-numbers", "--results", ".", "--page", page)
    assert status == 2 and errors.startswith(f"selfdistill: {page}: cannot be read: ")
    monkeypatch.setattr("selfdistill.pages.numbers.filled", lambda page, results: Path("ours").read_text())
    Path("page.md").touch()
    with pytest.raises(FileNotFoundError):
        cli.main(["show-numbers", "--results", ".", "--page", "page.md"])


def test_a_page_that_is_no_text_or_a_folder_is_one_line_and_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("picture.png").write_bytes(b"\x89PNG")
    Path("folder").mkdir()
    status, errors = run(capsys, "show-numbers", "--results", ".", "--page", "picture.png")
    assert (status, errors) == (2, "selfdistill: picture.png: not UTF-8 text, so no page\n")
    status, errors = run(capsys, "document-config", "--page", "folder", "--schema", "schema.yaml")
    assert (status, errors) == (2, "selfdistill: folder: cannot be written: Is a directory\n")
    assert Path("picture.png").read_bytes() == b"\x89PNG" and sorted(tmp_path.iterdir()) == [
        tmp_path / "folder", tmp_path / "picture.png",
    ]  # fmt: skip


ONTO = {  # what is written onto what, and the end of its sentence
    "a file that it reads": (
        ["load-problems", "--problem-set.source=file", "--problem-set.file=mine.jsonl", "--out=sub/../mine.jsonl"],
        "--out: sub/../mine.jsonl is read by this command; name another place",
    ),
    "one of several files that it reads": (
        "make-table-2 --traces other.jsonl mine.jsonl --models={} --confidence=0.9 --out=mine.jsonl".split(),
        "--out: mine.jsonl is read by this command",
    ),
    "a link to what it reads": (
        ["export-logbook", "--claims=mine.jsonl", "--out=link"],
        "--out: link is read by this command",
    ),
    "a second output": (
        "render-table --table=mine.jsonl --sft-runs=r --out-csv=a --out-markdown=mine.jsonl --out-latex=b".split(),
        "--out-markdown: mine.jsonl is read by this command",
    ),
    "the folder that it reads": (["pack-measures", "sub", "--out=sub"], "--out: sub is read by this command"),
    "a folder": (["archive", "study", "--out=sub"], "--out: sub is a folder, where a file is to be written"),
    "a folder of a step": (
        ["load-problems", "--problem-set.source=file", "--problem-set.file=mine.jsonl", "--out=sub"],
        "--out: sub is a folder, where a file is to be written",
    ),
    **{
        f"a file, {command[0]}": (
            [*command, "--out=mine.jsonl"],
            "--out: mine.jsonl is a file, where a folder is to be written",
        )
        for command in (
            ["pack-measures", "study"], ["unpack-measures", "study"], ["export-tensorboard", "study"],
            ["export-logbook", "--claims=c.json"], ["export-inspect", "study", "--traces=t.parquet"],
        )
    },
    "below a file": (
        ["pack-measures", "study", "--out=mine.jsonl/a/b"],
        "HERE/mine.jsonl: a file, where a folder is expected",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ONTO)
def test_nothing_is_written_onto_what_is_read_or_where_it_cannot_be(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "mine.jsonl").write_text('{"problem": "What is 1+1?", "answer": "2"}\n')
    (tmp_path / "link").symlink_to("mine.jsonl")
    before = sorted(tmp_path.rglob("*")), (tmp_path / "mine.jsonl").read_bytes()
    arguments, told = ONTO[case]
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"selfdistill: {told.replace('HERE', str(tmp_path))}")
    assert (sorted(tmp_path.rglob("*")), (tmp_path / "mine.jsonl").read_bytes()) == before


def test_a_result_that_is_there_is_written_over(tmp_path):
    source, out = tmp_path / "problems.jsonl", tmp_path / "problems.parquet"
    source.write_text('{"problem": "What is 1+1?", "answer": "2"}\n')
    out.write_text("an older one")
    assert cli.main(["load-problems", "--problem-set.source=file", f"--problem-set.file={source}", f"--out={out}"]) == 0
    assert tables.read(out, tables.PROBLEMS)["answer"].tolist() == ["2"]


@pytest.fixture
def offered(monkeypatch):
    """Offers a function as the only command."""

    def offer(function):
        command = function.__name__.replace("_", "-")
        monkeypatch.setattr(stages, "STAGES", {command: (function, stages.STEP)})

    return offer


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["load-problem"], "unknown command 'load-problem' (did you mean 'load-problems'?)"),
        (["load-problems", "--problem-set.sorce=file"], "unknown flag '--problem-set.sorce' (did you mean"),
        (["verify"], "verify: missing RESULTS"),
        (["trace", "--fiel", "x"], "trace: unknown flag '--fiel'; `selfdistill trace --help`"),
        (["plan", "config/smoke.yaml"], "plan: 'config/smoke.yaml' needs a flag before it: --configfile, --profile"),
        (
            ["plan", "--cores", "2", "x", "--fiel"],
            "'x' needs a flag before it: --configfile, --profile, --price, --target",
        ),
        (["compare", "a", "b"], "compare: 'a' needs a flag before it: --fresh, --reference; `selfdistill compare"),
        (["load-problems", "mine.jsonl"], "'mine.jsonl' needs a flag before it: --problem-set.source, --out; `self"),
        (["document-config", "--page=x", "y"], "'y' needs a flag before it: --schema; `selfdistill document-config"),
        (["trace", "a", "b"], "trace: 'b' is a word too many: `selfdistill trace FILE` takes no other; `selfdistill"),
        (["diff", "a", "b", "c"], "'c' is a word too many: `selfdistill diff FIRST SECOND` takes no other"),
        (["plan", "--configfile"], "plan: --configfile expects a word behind it; `selfdistill plan --help`"),
        (["explain", "--target", "--cores", "2"], "explain: --target expects a word behind it"),
        (["fingerprint", "--workers", "0"], "--workers: 0; it must be 1 or more"),
        (
            ["resolve-revisions", "--repos", "a/b", "--lock", "lock.json", "--kind", "modell"],
            "--kind: unknown 'modell' (did you mean 'model'?); known: dataset, model",
        ),
        (["load-problems"], "load-problems: missing --problem-set.source, --out"),
        (
            ["load-problems", "--out=x", "--problem-set.source=hubb"],
            "--problem-set.source: unknown 'hubb' (did you mean",
        ),
        (["load-problems", "--out=x", "--problem-set.source=file"], "source 'file' needs 'file'"),
    ],
)
def test_unknown_words_stop_with_status_2_and_the_nearest_spelling(arguments, said, capsys):
    try:
        status = cli.main(arguments)
    except SystemExit as stop:
        status = stop.code
    errors = capsys.readouterr().err
    assert status == 2 and said in errors and "Traceback" not in errors


def test_settings_become_flags_and_come_back_as_settings(offered):
    seen = {}

    def sample_guidance(
        *, contexts: Sequence[Path] = (), sampling: Sampling, enable_thinking: bool | None = None
    ) -> None:
        """A stage."""
        seen.update(sampling=sampling, contexts=contexts, thinking=enable_thinking)

    offered(sample_guidance)
    assert cli.main(["sample-guidance", "--sampling.temperature", "0.6", "--sampling.max-tokens", "7"]) == 0
    assert seen == {"sampling": Sampling(0.6, 1.0, 0, 7), "contexts": (), "thinking": None}
    arguments = ["sample-guidance", "--sampling.temperature=1", "--contexts", "a", "b", "--enable-thinking", "false"]
    assert cli.main(arguments) == 0
    assert seen["contexts"] == [Path("a"), Path("b")] and seen["thinking"] is False
    assert cli.main([*arguments[:-1], "null"]) == 0
    assert seen["thinking"] is None


def test_null_switches_a_setting_off_unless_it_may_be_its_text():
    hub = ["--problem-set.source=hub", "--problem-set.repo=a/b", "--problem-set.revision=locked"]
    words = ["load-problems", "--out=x", *hub, "--problem-set.size=null", "--problem-set.name=null"]
    found = cli.read(words)[2]["problem_set"]
    assert (found.size, found.name) == (None, "null")


def test_a_comparison_that_fails_has_status_1(offered):
    def compare() -> int:
        """A stage."""
        return 1

    offered(compare)
    assert cli.main(["compare"]) == 1


def test_a_wrong_word_for_a_flag_is_told_and_nothing_runs(offered, capsys):
    def evaluate(*, samples: int = 1, enable_thinking: bool = False, sampling: Sampling) -> None:
        raise AssertionError("it ran")

    offered(evaluate)
    for flag, said in [
        ("--enable-thinking=perhaps", "--enable-thinking: Input should be a valid boolean"),
        ("--samples=many", "--samples: Input should be a valid integer"),
        ("--sampling.top-p=2", "--sampling.top-p: Input should be less than or equal to 1"),
    ]:
        assert cli.main(["evaluate", flag]) == 2
        assert said in capsys.readouterr().err


def test_every_setting_is_a_flag_with_its_meaning_default_and_paper_value(capsys):
    for command, parameter, settings in [
        ("train-sft", "settings", SftSettings),
        ("train-onpolicy", "settings.sdpo", SdpoSettings),
        ("evaluate-model", "sampling", Sampling),
    ]:
        with pytest.raises(SystemExit) as stop:
            cli.main([command, "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert stop.value.code == 0
        for name, declared in keys(settings).items():
            assert f"--{parameter}.{name}".replace("_", "-") + " " in text
            assert declared.description in text and f"(default {declared.default})" in text
            paper = declared.json_schema_extra["paper"]
            assert not paper or f"Paper: {paper}." in text


def test_every_flag_of_every_command_says_what_it_is():
    for command, (stage, _) in stages.STAGES.items():
        assert [flag.name for flag in cli._flags(stage) if not flag.help] == [], command


def test_the_overview_lists_every_command_in_a_group(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert [line for line in text.splitlines() if line.endswith(":")] == [f"{g}:" for g in GROUPS]
    assert {line.split()[0] for line in text.splitlines() if line.startswith("  ")} == stages.STAGES.keys()


def test_a_list_that_is_required_may_not_be_empty(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["make-table-2", "--traces", "--confidence", "0.9"])
    assert stop.value.code == 2
    assert "--traces: expected at least one argument" in capsys.readouterr().err


def test_every_output_and_only_outputs_get_a_sidecar(tmp_path, offered):
    def make(*, table: Path, lists: list[Path], number: int, out: Path, out_card: Path, page: Path) -> None:
        """A stage."""
        for path in (out, out_card, page):
            path.write_text("x")

    offered(make)
    inputs = [tmp_path / name for name in ("a", "b", "c")]
    for path in inputs:
        path.touch()
    outputs = {name: str(tmp_path / name) for name in ("out", "out-card", "page")}
    flags = [word for name, path in outputs.items() for word in (f"--{name}", path)]
    given = ["--table", str(inputs[0]), "--lists", *map(str, inputs[1:]), "--number", "3", *flags]
    assert cli.main(["make", *given]) == 0
    sidecars = sorted(path.name for path in tmp_path.glob("*.provenance.json"))
    assert sidecars == ["out-card.provenance.json", "out.provenance.json"]
    record = json.loads((tmp_path / sidecars[0]).read_text())
    assert set(record["inputs"]) >= {"table", "lists[0]", "lists[1]"}
    assert record["parameters"]["number"] == 3
    assert record["command"] == ["selfdistill", "make", *given]


def test_models_along_training_are_recorded_where_they_are_read_and_where_they_are_made(tmp_path, offered):
    def make(*, model: Path, out_models: Path, out: Path) -> None:
        """A stage."""
        for name in ("step-2", "step-10"):
            files.write_text(out_models / name / "manifest.json", name)
        out.write_text("x")

    offered(make)
    for name in ("step-10", "step-9", "notes"):
        files.write_text(tmp_path / "read" / name / "manifest.json", f"read {name}")
    given = ["--model", str(tmp_path / "read"), "--out-models", str(tmp_path / "made"), "--out", str(tmp_path / "x")]
    assert cli.main(["make", *given]) == 0
    (sidecar,) = tmp_path.rglob("*.provenance.json")
    record = json.loads(sidecar.read_text())
    read = {f"model[{name}]": files.sha256_text(f"read {name}") for name in ("step-9", "step-10")}
    assert [(name, entry["sha256"]) for name, entry in record["inputs"].items()] == list(read.items())
    assert record["parameters"]["model"] == str(tmp_path / "read")
    assert record["models"] == {
        name: {"path": str(tmp_path / "made" / name / "manifest.json"), "sha256": files.sha256_text(name)}
        for name in ("step-2", "step-10")
    }


def test_a_job_that_finds_what_an_earlier_one_kept_says_so(tmp_path, offered, caplog):
    table, work, how = tmp_path / "table", tmp_path / "work", {"fails": True, "keeps": True}

    def make(*, table: Path, work_dir: Path, out: Path) -> None:
        """A stage."""
        (work_dir / "kept").touch()
        if how["fails"]:
            raise SystemExit(75)
        if not how["keeps"]:
            (work_dir / "kept").unlink()
        out.write_text("x")

    def goes_on() -> bool:
        caplog.clear()
        with caplog.at_level("INFO"):
            assert cli.main(["make", "--table", str(table), "--work-dir", str(work), "--out", str(tmp_path / "x")]) == 0
        return attempts.GOES_ON in caplog.text

    offered(make)
    table.write_text("1")
    with pytest.raises(SystemExit):
        goes_on()
    how["fails"] = False
    assert goes_on() and goes_on()
    table.write_text("2")
    assert not goes_on() and goes_on()
    how["keeps"] = False
    assert goes_on() and not list(work.iterdir())
    assert not goes_on()


def test_generated_pages_get_no_sidecar(tmp_path):
    page, schema = tmp_path / "README.md", tmp_path / "schema.yaml"
    assert cli.main(["document-config", "--page", str(page), "--schema", str(schema)]) == 0
    assert sorted(tmp_path.iterdir()) == [page, schema]


def test_every_stage_says_what_it_does():
    for stage, _ in stages.STAGES.values():
        assert stage.__doc__ and stage.__doc__.strip().endswith("."), stage.__name__


def test_only_steps_of_the_workflow_leave_records_and_say_their_seconds(tmp_path, monkeypatch, caplog):
    def ask(*, out: Path) -> None:
        """A question."""
        out.write_text("x")

    for group, records in ((stages.QUESTION, 0), (stages.STEP, 1)):
        monkeypatch.setattr(stages, "STAGES", {"ask": (ask, group)})
        caplog.clear()
        with caplog.at_level("INFO"):
            assert cli.main(["ask", "--out", str(tmp_path / "x")]) == 0
        assert len(list(tmp_path.glob("*.provenance.json"))) == records
        assert ("selfdistill ask: " in caplog.text) is bool(records)


def test_a_process_collects_young_garbage_and_leaves_what_is_old_when_it_ends():
    program = """
import atexit, gc, weakref
atexit.register(lambda: print("left alone:", gc.get_freeze_count() > 10_000))  # runs last
from selfdistill.cli import spare_collector
spare_collector()
class Node: pass
node = Node()
node.itself, gone = node, weakref.ref(node)
del node
kept = [[] for _ in range(100_000)]
print("collected:", gone() is None)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "collected: True\nleft alone: True\n")


def test_words_of_a_flag_that_is_written_twice_are_all_taken(offered):
    def plan(*, files: Sequence[Path] = ()) -> int:
        assert list(map(str, files)) == ["a.yaml", "b.yaml", "c.yaml"]
        return 7

    offered(plan)
    assert cli.main(["plan", "--files", "a.yaml", "b.yaml", "--files", "c.yaml"]) == 7


def test_a_reader_that_has_seen_enough_ends_a_command_quietly():
    shipped = Path(__file__).parents[2] / "results/reference/microcosm/tables/table_2.parquet"
    command = [sys.executable, "-m", "selfdistill", "trace", str(shipped)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
