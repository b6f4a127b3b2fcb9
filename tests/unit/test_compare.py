"""A fresh run against a reference: equal, where a run with another base model would lie, or faulty."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from project import ROOT
from selfdistill import cli, tables
from selfdistill.errors import UserError
from selfdistill.records import arithmetic, compare, reproduction

sys.path.append(str(ROOT / "benchmarks"))
import planted_faults

REFERENCE = [
    {"row": "solution", "metric": "L", "value": 1234.56},
    {"row": "unguided", "metric": "L", "value": 10.0},
    {"row": "3", "metric": "problems", "value": 5.0},
]
ARMS, METRICS, RUNS = 20, 8, 12


def folder(path, rows, *, name="table_1", origin="measured", study="smoke", seed=0, size=5):
    """A results folder with one table of ``rows``."""
    labels = {"study": study, "artifact": name, "model": "m", "benchmark": "", "origin": origin}
    frame = pd.DataFrame(rows).assign(**labels).reindex(columns=tables.SUMMARY.columns)
    tables.write(frame, path / "tables" / f"{name}.parquet", tables.SUMMARY)
    models = {"m": {"source": "microcosm", "seed": seed}}
    settings = {"study": study, "seed": seed, "models": models, "problem_sets": {"train": {"size": size}}}
    (path / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def changed(place, **values):
    return [{**row, **values} if place == i else row for i, row in enumerate(REFERENCE)]


def drawn(rng, number):
    """Values [number, arms, metrics] of runs that differ by base model: by its strength, by arm, and by chance."""
    strength, arms = rng.normal(size=(number, 1, 1)), rng.normal(size=(number, ARMS, 1))
    carried = np.linspace(-1, 1, ARMS * METRICS).reshape(ARMS, METRICS)
    levels = 50 + np.arange(METRICS)  # a metric differs from the next by less than one base model from another
    return levels + 6 * strength * (1 + carried) + 2 * arms + rng.normal(size=(number, ARMS, METRICS))


def rows_of(values, arms=range(ARMS)):
    return [
        {"row": f"arm {arm}", "metric": f"metric {metric}", "value": values[arm, metric]}
        for arm in arms
        for metric in range(METRICS)
    ]


@pytest.fixture(scope="module")
def runs():
    """Twelve runs of a study, the first of them the reference, and one more."""
    return drawn(np.random.default_rng(5), RUNS + 1)


@pytest.fixture(scope="module")
def gathered(tmp_path_factory, runs):
    """The reference's folder with its spread; tests must not change it."""
    place = tmp_path_factory.mktemp("runs")
    found = folder(place / "reference", rows_of(runs[0]))
    repetitions = [folder(place / str(i), rows_of(runs[i]), study=f"s{i}", seed=i) for i in range(1, RUNS)]
    tables.write(compare.gather(found, repetitions), found / compare.SPREAD, tables.SUMMARY)
    return found


@pytest.fixture
def reference(tmp_path, gathered):
    """A copy of it."""
    return shutil.copytree(gathered, tmp_path / "reference")


# --- without repetitions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [REFERENCE, changed(2, value=5 * (1 + 1e-15)), REFERENCE[::-1]])
def test_equal_values_are_said_first(tmp_path, capsys, fresh):
    paths = folder(tmp_path / "fresh", fresh), folder(tmp_path / "reference", REFERENCE)
    assert cli.main(["compare", "--fresh", str(paths[0]), "--reference", str(paths[1])]) == 0
    assert capsys.readouterr().out.startswith("All 3 values are equal.\n")


@pytest.mark.parametrize(
    ("fresh", "said"),
    [
        (changed(2, value=6.0), "! table_1 / m / 3 / problems: 6, reference 5\n"),
        (changed(0, value=1234.57), "3 values: 2 equal, 1 not, 0 missing.\n"),
        (REFERENCE[1:], "! table_1 / m / solution / L: missing, reference 1235\n"),
        ([*REFERENCE, {"row": "x", "metric": "L", "value": 1.0}], "! table_1 / m / x / L: 1, reference missing\n"),
    ],
)
def test_without_repetitions_only_equality_can_be_judged(tmp_path, capsys, fresh, said):
    paths = folder(tmp_path / "fresh", fresh), folder(tmp_path / "reference", REFERENCE)
    assert cli.main(["compare", "--fresh", str(paths[0]), "--reference", str(paths[1])]) == 1
    out = capsys.readouterr().out
    assert said in out
    assert out.endswith("has no spread.parquet of repetitions (`make spread`): only exact equality can be judged.\n")


@pytest.mark.parametrize("swap", [False, True])
def test_a_table_on_one_side_only_is_not_reproduced(tmp_path, swap):
    more = folder(folder(tmp_path / "more", REFERENCE), REFERENCE, name="table_2")
    less = folder(tmp_path / "less", REFERENCE)
    report, reproduced = compare.compare_folders(*((less, more) if swap else (more, less)))
    assert not reproduced
    assert "6 values: 3 equal, 0 not, 3 missing." in report


def test_quoted_values_are_not_compared(tmp_path):
    fresh = folder(folder(tmp_path / "fresh", REFERENCE), REFERENCE, name="quotes", origin="quoted")
    report, reproduced = compare.compare_folders(fresh, folder(tmp_path / "reference", REFERENCE))
    assert reproduced and "All 3 values" in report


def test_a_folder_without_tables_is_named(tmp_path, capsys):
    full, empty = folder(tmp_path / "full", REFERENCE), tmp_path / "empty"
    for paths in [(full, empty), (empty, full), (empty, empty)]:
        with pytest.raises(UserError, match="empty/tables holds no table to compare"):
            compare.compare_folders(*paths)
    assert cli.main(["compare", "--fresh", str(full), "--reference", str(empty)]) == 2
    assert capsys.readouterr().err.splitlines() == [f"selfdistill: {empty}/tables holds no table to compare"]


def test_tables_of_another_study_and_copies_are_no_numbers_of_a_study(tmp_path):
    whole = folder(tmp_path / "whole", REFERENCE)
    mixed = folder(folder(tmp_path / "mixed", REFERENCE), REFERENCE, name="table_2", study="thorough")
    copied = folder(tmp_path / "copied", REFERENCE)
    shutil.copy(copied / "tables/table_1.parquet", copied / "tables/table_1 (copy).parquet")
    for place, said in {
        mixed: "mixed/tables holds numbers of several studies: smoke, thorough",
        copied: "copied/tables holds table_1 / m / .* twice; one is a copy: .*table_1 .copy.",
    }.items():
        for paths in [(place, whole), (whole, place)]:
            with pytest.raises(UserError, match=said):
                compare.compare_folders(*paths)


# --- with repetitions -------------------------------------------------------------------------------------------------


def test_another_base_model_reproduces_the_reference(tmp_path, runs, reference):
    report, reproduced = compare.compare_folders(folder(tmp_path / "fresh", rows_of(runs[-1])), reference)
    assert reproduced and report.endswith("Reproduced: the run lies where one with another base model lies.")
    assert "160 values: 0 equal, 160 not, 0 missing." in report and "of 12 runs with other base models" in report


def shifted(values):
    """An arm in five off by twice its spread between base models, each value in its own direction."""
    return values + 12 * (-1) ** np.arange(METRICS) * (np.arange(ARMS) % 5 == 0)[:, None]


FAULTS = {
    "values of some arms off": shifted,
    "two metrics of all arms swapped": lambda values: values[:, [7, 1, 2, 3, 4, 5, 6, 0]],
    "the order of arms reversed": lambda values: values[::-1],
    "everything far away": lambda values: values + 60,
    "one value for all": np.zeros_like,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_not_reproduced(tmp_path, capsys, runs, reference, fault):
    fresh = folder(tmp_path / "fresh", rows_of(FAULTS[fault](runs[-1])))
    assert cli.main(["compare", "--fresh", str(fresh), "--reference", str(reference)]) == 1
    assert capsys.readouterr().out.endswith("NOT reproduced: more differs than another base model explains.\n")


def test_a_missing_arm_is_never_reproduced(tmp_path, runs, reference):
    fresh = folder(tmp_path / "fresh", rows_of(runs[-1], range(1, ARMS)))
    report, reproduced = compare.compare_folders(fresh, reference)
    assert not reproduced and "8 missing" in report
    assert f"! table_1 / m / arm 0 / metric 0: missing, reference {runs[0][0, 0]:.4g}\n" in report


def test_a_value_that_a_repetition_has_no_number_for_is_not_judged(tmp_path, runs, reference):
    spread = tables.read(reference / compare.SPREAD, tables.SUMMARY)
    here = (spread["row"] == "arm 3") & (spread["metric"] == "metric 2")
    spread.loc[here & (spread["study"] == "s4"), "value"] = None
    tables.write(spread, reference / compare.SPREAD, tables.SUMMARY)
    for value in (300, None):
        away = [
            {**row, "value": value} if row["row"] == "arm 3" and row["metric"] == "metric 2" else row
            for row in rows_of(runs[-1])
        ]
        report, reproduced = compare.compare_folders(folder(tmp_path / "fresh", away), reference)
        assert reproduced and "\n1 values are undefined in some repetition, and not judged.\n" in report


def test_equal_undefined_values_are_equal(tmp_path):
    paths = [folder(tmp_path / name, changed(0, value=None)) for name in ("fresh", "reference")]
    assert compare.compare_folders(*paths)[0].startswith("All 2 values are equal.")


def test_a_value_outside_is_told_with_its_place(tmp_path, runs, reference):
    away = runs[-1].copy()
    away[3, 2] = 300
    report, reproduced = compare.compare_folders(folder(tmp_path / "fresh", rows_of(away)), reference)
    mean, sd = runs[:RUNS, 3, 2].mean(), runs[:RUNS, 3, 2].std(ddof=1) * np.sqrt(1 + 1 / RUNS)
    line = f"! table_1 / m / arm 3 / metric 2: 300, reference {runs[0, 3, 2]:.4g}, mean {mean:.4g}, "
    assert f"{line}{(300 - mean) / sd:+.1f} standard deviations\n" in report
    assert not reproduced  # no base model explains what stands alone so far away


def test_correct_runs_fail_rarely_and_faulty_ones_nearly_always():
    rng = np.random.default_rng(0)
    sound, faulty = [], []
    for _ in range(100):
        repetitions, fresh = np.split(drawn(rng, RUNS + 1), [RUNS])
        sound.append(judged(repetitions, fresh[0]).reproduced)
        faulty.append(judged(repetitions, shifted(fresh[0])).reproduced)
    assert np.mean(sound) >= 0.97 and np.mean(faulty) <= 0.03


def test_a_left_out_repetition_is_allowed_what_it_has_itself(runs):
    found = judged(runs[:RUNS], runs[-1])
    for i, other in enumerate(found.left_out):
        alone = judged(np.delete(runs[:RUNS], i, axis=0), runs[i]).run
        assert (other.outside, other.unexplained) == (alone.outside, alone.unexplained)
        assert other.outside <= found.most_outside and other.unexplained <= found.most_unexplained


def judged(repetitions, fresh):
    names = [("t", "m", str(arm), "", str(metric)) for arm in range(ARMS) for metric in range(METRICS)]
    index = pd.MultiIndex.from_tuples(names, names=compare.KEYS)
    columns = pd.DataFrame({i: values.ravel() for i, values in enumerate(repetitions)}, index)
    return reproduction.judge(columns, pd.Series(fresh.ravel(), index))


def test_what_is_the_same_in_all_repetitions_may_differ_as_little_as_its_like_do():
    like = np.array([0, 0, 1])
    repetitions = np.array([[1.0, 5 + i, 7] for i in range(8)])  # 5..12: a standard deviation of 2.45
    reach = reproduction.limit(8) * np.sqrt(1 + 1 / 8) * 0.1 * np.sqrt(6 / 2)
    for value, outside in ((1 + reach * 0.99, 0), (1 + reach * 1.01, 1)):
        assert reproduction.place(repetitions, np.array([value, 8, 7]), like).outside == outside
    found = reproduction.place(repetitions, np.array([1, 8, 7.01]), like)  # a constant without a like that varies
    assert found.outside == 1 and found.deviations[2] == np.inf


def test_the_interval_of_a_value_is_that_of_a_further_draw():
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(9, 20000))
    found = reproduction.place(draws[:8], draws[8], np.arange(20000))
    assert found.outside / 20000 == pytest.approx(0.05, abs=0.005)


# --- repetitions ------------------------------------------------------------------------------------------------------


def test_only_repetitions_of_the_study_are_gathered(tmp_path):
    study = folder(tmp_path / "study", REFERENCE)
    good = [folder(tmp_path / str(i), REFERENCE, study=f"s{i}", seed=i) for i in range(1, 8)]
    assert len(compare.gather(study, good)) == 21
    with pytest.raises(UserError, match=r"6 repetitions of .*study are too few: at least 7 are needed"):
        compare.gather(study, good[1:])
    other = folder(tmp_path / "other", REFERENCE, study="other", size=6)
    with pytest.raises(UserError, match=r"other is no repetition of .*: 'problem_sets.train.size' differs"):
        compare.gather(study, [*good, other])
    less = folder(tmp_path / "less", REFERENCE[1:], study="less")
    with pytest.raises(UserError, match=r"less is no repetition of .*: it lacks table_1 / m / solution / L"):
        compare.gather(study, [*good, less])
    with pytest.raises(UserError, match="given twice"):
        compare.gather(study, [*good, good[0]])


@pytest.mark.parametrize(
    "content", ["", "- a\n", "study: [a\n", "\x80", "study: s\n", "models: 3\n", "models: {m: 1}\n"]
)
def test_a_recorded_configuration_that_is_none_is_named(tmp_path, content):
    study = folder(tmp_path / "study", REFERENCE)
    repetitions = [folder(tmp_path / str(i), REFERENCE, study=f"s{i}", seed=i) for i in range(1, 8)]
    (repetitions[2] / "config.yaml").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"3/config.yaml"):
        compare.gather(study, repetitions)


def test_a_key_that_is_newer_than_the_reference_has_its_default_there(tmp_path):
    study = folder(tmp_path / "study", REFERENCE)
    repetitions = [folder(tmp_path / str(i), REFERENCE, study=f"s{i}", seed=i) for i in range(1, 8)]
    newer = repetitions[3] / "config.yaml"
    newer.write_text(newer.read_text() + "engine: transformers\nlaid_over: ''\n")
    assert len(compare.gather(study, repetitions)) == 21
    newer.write_text(newer.read_text().replace("engine: transformers", "engine: vllm"))
    with pytest.raises(UserError, match=r"4 is no repetition of .*study: 'engine' differs"):
        compare.gather(study, repetitions)


def test_repetitions_of_other_settings_than_the_reference_are_refused(tmp_path, runs, reference):
    folder(reference, rows_of(runs[0]), name="table_2")
    fresh = folder(folder(tmp_path / "fresh", rows_of(runs[-1])), rows_of(runs[-1]), name="table_2")
    with pytest.raises(UserError, match="it lacks table_2 / m / arm 0 / metric 0: run `make spread` once more"):
        compare.compare_folders(fresh, reference)


# --- arithmetic -------------------------------------------------------------------------------------------------------


def recorded(path, *, processor="Xeon", torch="AVX2, 1 thread", numba="rocketlake"):
    """A tree whose one file was made so."""
    path.mkdir(exist_ok=True)
    in_use = {"torch": torch, "numpy": "X86_V3"} | ({"numba": numba} if numba else {})
    machine = {"processor": processor, "instruction_sets": "avx2 fma", "in_use": in_use}
    record = {"sha256": "", "command": ["selfdistill", "stage"], "inputs": {}, "parameters": {}, "finished": ""}
    record |= {"seconds": 1, "git": None, "machine": machine, "packages": {"torch": "2.13.0"}}
    with (path / "provenance.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"path": f"{processor}{torch}", **record}) + "\n")
    return path


def test_one_line_says_whether_two_trees_come_from_the_same_arithmetic(tmp_path):
    here = recorded(tmp_path / "here")
    same = arithmetic.compared(here, recorded(tmp_path / "same", torch="AVX2, 4 threads"))
    assert same.startswith("Both were made by the same arithmetic, on the same kind of processor: ")
    moved = recorded(tmp_path / "moved", processor="EPYC", numba="znver4")
    used = "numpy X86_V3, torch AVX2, version of torch 2.13.0"
    assert arithmetic.compared(here, moved) == (
        f"Both were made by the same arithmetic ({used}), on other processors: "
        f"numba rocketlake, in {moved} znver4; processor Xeon, in {moved} EPYC."
    )
    other = recorded(tmp_path / "other", torch="AVX512, 1 thread")
    assert arithmetic.compared(here, other) == (
        f"They were made by DIFFERENT arithmetic: torch AVX2, in {other} AVX512."
    )
    assert arithmetic.compared(here, tmp_path / "none").startswith(f"No record in {tmp_path / 'none'} says")


def test_a_tree_of_several_arithmetics_is_told(tmp_path, capsys):
    tree = recorded(tmp_path / "tree")
    assert arithmetic.mixed(tree) is None
    recorded(tree, processor="EPYC")
    assert arithmetic.mixed(tree) is None
    recorded(tree, torch="DEFAULT, 1 thread")
    told = f"{tree} was made by more than one arithmetic: torch AVX2 and DEFAULT"
    assert arithmetic.mixed(tree) == told
    cli.main(["verify", str(tree)])
    assert told in capsys.readouterr().out.splitlines()


# --- planted faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", planted_faults.FAULTS.values(), ids=planted_faults.FAULTS)
def test_the_faults_of_the_benchmark_are_planted_where_they_mean_to(fault, tmp_path):
    file = tmp_path / fault.file
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(ROOT / fault.file, file)
    before = file.read_text(encoding="utf-8")
    fault.plant(tmp_path)  # ends the program where a text of it does not stand there once
    planted = file.read_text(encoding="utf-8")
    assert planted != before
    if file.suffix == ".py":
        compile(planted, fault.file, "exec")
    else:
        assert yaml.safe_load(planted)["problem_sets"]["easy"]["split"].strip() == "hard"
