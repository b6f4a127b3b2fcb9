"""A study in one zip, read back by the library that reads such crates."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate
from selfdistill import cli
from selfdistill.errors import UserError
from selfdistill.records.archive import PROFILES, archive
from selfdistill.records.bundle import Records
from selfdistill.records.provenance import SEAL, seal
from selfdistill.records.verification import verify

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "reference" / "microcosm"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archive") / "microcosm.zip"
    archive(RESULTS, ROOT, out)
    return out


def test_the_crate_names_its_workflow_its_run_and_its_files(made, tmp_path):
    crate = ROCrate(made)
    assert crate.mainEntity.id == "Snakefile" and "ComputationalWorkflow" in crate.mainEntity.type
    assert {profile.id for profile in crate.root_dataset["conformsTo"]} == set(PROFILES)
    assert crate.license.id == "https://spdx.org/licenses/Apache-2.0"
    run = crate.dereference("#run")
    assert run.type == "CreateAction" and run["instrument"].id == "Snakefile"
    assert [given.id for given in run["object"]] == ["results/config.yaml"]
    results = {file.id for file in run["result"]}
    assert {"results/claims/ledger.parquet", "results/tables/table_1.parquet", "results/provenance.jsonl"} <= results
    finished = [record.content["finished"] for record in Records(RESULTS).all().values()]
    assert (run["startTime"], run["endTime"]) == (min(finished), max(finished))
    with zipfile.ZipFile(made) as content:
        context = json.loads(content.read("ro-crate-metadata.json"))["@context"]
        assert context == "https://w3id.org/ro/crate/1.1/context"  # what the profiles are written for
        held = set(content.namelist())
        named = {file.id for file in crate.data_entities if file.id != "./"}
        assert held == named | {"ro-crate-metadata.json"}
        assert {"envs/requirements.lock", "config.yaml", "LICENSE", "CITATION.cff"} <= held


def test_every_file_is_what_its_record_says(made):
    with zipfile.ZipFile(made) as content:
        records = [json.loads(line) for line in content.read("results/provenance.jsonl").splitlines()]
        held = set(content.namelist())
        recorded = {f"results/{record['path']}": record["sha256"] for record in records}
        checked = [name for name in recorded if name in held]
        assert len(checked) > 50
        assert all(hashlib.sha256(content.read(name)).hexdigest() == recorded[name] for name in checked)
    assert not [name for name in held if name.endswith(".provenance.json") or "__pycache__" in name]


def test_what_is_unpacked_verifies(made, tmp_path):
    with zipfile.ZipFile(made) as content:
        content.extractall(tmp_path)
    assert verify(tmp_path / "results") == []
    table = tmp_path / "results" / "tables" / "table_1.parquet"
    table.write_bytes(table.read_bytes()[::-1])
    assert any("table_1.parquet" in problem for problem in verify(tmp_path / "results"))


def test_responses_stay_out_and_their_records_say_so(tmp_path):
    results = tmp_path / "results"
    shutil.copytree(RESULTS, results)
    traces = results / "traces" / "mine.parquet"
    traces.parent.mkdir()
    traces.write_bytes(b"responses")
    line = json.loads((results / "provenance.jsonl").read_text().splitlines()[0])
    record = {name: line[name] for name in line if name not in ("path", "left_out", SEAL)}
    record |= {"file": "mine.parquet", "sha256": hashlib.sha256(b"responses").hexdigest(), "bytes": 9}
    sidecar = traces.with_name("mine.parquet.provenance.json")
    sidecar.write_text(json.dumps({**record, SEAL: seal(record)}, indent=2))
    archive(results, ROOT, tmp_path / "mine.zip")
    with zipfile.ZipFile(tmp_path / "mine.zip") as content:
        assert not [name for name in content.namelist() if "traces/" in name]
        lines = [json.loads(line) for line in content.read("results/provenance.jsonl").splitlines()]
    assert {line["path"]: line["left_out"] for line in lines}["traces/mine.parquet"] is True


def test_equal_studies_give_equal_bytes(made, tmp_path):
    archive(RESULTS, ROOT, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == made.read_bytes()


def test_an_unfinished_study_is_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match=r"mine: not a finished study \(no claims/ledger.parquet\)"):
        archive(tmp_path / "mine", ROOT, tmp_path / "mine.zip")
    monkeypatch.chdir(ROOT)
    assert cli.main(["archive", str(tmp_path), "--out", str(tmp_path / "mine.zip")]) == 2
    assert "not a finished study" in capsys.readouterr().err and not (tmp_path / "mine.zip").exists()


@pytest.mark.parametrize("content", ["", "- a\n", "study: [a\n", "seed: 3\n"])
def test_a_recorded_configuration_that_is_none_is_named(content, tmp_path):
    study = tmp_path / "study"
    (study / "claims").mkdir(parents=True)
    for name in ("claims/ledger.parquet", "provenance.jsonl"):
        shutil.copy(RESULTS / name, study / name)
    (study / "config.yaml").write_text(content)
    with pytest.raises(UserError, match=r"study/config\.yaml"):
        archive(study, ROOT, tmp_path / "study.zip")
    assert not (tmp_path / "study.zip").exists()


def test_a_file_that_is_no_archive_is_not_written_over(made, tmp_path):
    mine, again = tmp_path / "mine.txt", tmp_path / "again.zip"
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"mine\.txt: is there already, and no archive; --out names another file"):
        archive(RESULTS, ROOT, mine)
    assert mine.read_text() == "mine"
    again.write_bytes(made.read_bytes())
    assert archive(RESULTS, ROOT, again) > 50
