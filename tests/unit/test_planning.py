"""What a study costs, why its jobs run and what hangs on them: planted costs, a tiny workflow, the study itself."""

import fnmatch
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from project import ROOT, Project, configured
from selfdistill import cli
from selfdistill.claims.statements import Test as Comparison
from selfdistill.claims.statements import cells_of, read_claims
from selfdistill.config import parse
from selfdistill.errors import UserError
from selfdistill.planning import assumptions, causes, costs, dag, explain, measured, plan, waiting
from selfdistill.planning.dag import Cause, Job
from selfdistill.planning.ranges import Range, exactly, total
from selfdistill.planning.ranges import parse as parse_range
from selfdistill.planning.simulation import Task, end_times
from selfdistill.planning.text import count, duration
from selfdistill.planning.work import RULES, Study, work_of
from selfdistill.settings import as_json
from selfdistill.training.settings import TRAINED


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which nothing has been run."""
    return Project.copy_to(tmp_path_factory.mktemp("checkout")).folder


@pytest.fixture(scope="module")
def default(checkout: Path) -> plan.Plan:
    """The plan of the default study where nothing has been run."""
    before = Path.cwd()
    os.chdir(checkout)
    try:
        graph = dag.read(cores=2)
    finally:
        os.chdir(before)
    config = parse(dict(graph.config))
    return plan.Plan(graph, Study(config, assumptions.read(config, checkout), checkout))


# --- the schedule -------------------------------------------------------------------------------------------------

# 1 (3 s) and 2 (2 s) are free to start; 3 (4 s) needs 1; 4 (1 s) needs 1 and 2; 5 (1 s) needs 3 and 4
DIAMOND = {1: (3, ()), 2: (2, ()), 3: (4, (1,)), 4: (1, (1, 2)), 5: (1, (3, 4))}


def tasks(threads: int = 1) -> dict[int, Task]:
    return {name: Task(seconds, frozenset(needs), {"cores": threads}) for name, (seconds, needs) in DIAMOND.items()}


def test_two_cores_reach_the_critical_path():
    assert end_times(tasks(), {"cores": 2}) == {1: 3, 2: 2, 3: 7, 4: 4, 5: 8}


def test_one_core_does_one_job_after_the_other_first_come_first_served():
    assert end_times(tasks(), {"cores": 1}) == {1: 3, 2: 5, 3: 9, 4: 10, 5: 11}


def test_a_job_with_more_threads_than_cores_takes_them_all():
    assert end_times(tasks(threads=8), {"cores": 2})[5] == 11


def test_a_smaller_job_passes_one_that_does_not_fit():
    wide = {1: Task(5, frozenset(), {"cores": 1}), 2: Task(5, frozenset(), {"cores": 2})}
    assert end_times({**wide, 3: Task(1, frozenset(), {"cores": 1})}, {"cores": 2}) == {1: 5, 3: 1, 2: 10}


def test_jobs_that_are_done_hold_nothing_up():
    assert end_times({2: Task(4, frozenset({1}), {"cores": 1})}, {"cores": 1}) == {2: 4}


# --- ranges and their words ---------------------------------------------------------------------------------------


def test_dividing_by_a_range_turns_its_bounds_around():
    assert Range(10, 20, 40) / Range(1, 2, 4) == Range(2.5, 10, 40)


@pytest.mark.parametrize("value", ["fast", [1, 2], [3, 2, 1], -1, None])
def test_a_malformed_number_of_the_table_is_named(value: object):
    with pytest.raises(UserError, match="expected a number or"):
        parse_range(value, "rates.draw")


def test_words_keep_one_unit_for_value_and_range():
    assert duration(Range(60 * 17, 60 * 34, 60 * 68)) == "34 min [17-68]"
    assert duration(Range(3600, 3600 * 5, 3600 * 50)) == "5.0 h [1.0-50]"
    assert count(exactly(1_700_000)) == "1.7M"


# --- rates from measured jobs -------------------------------------------------------------------------------------


def benchmark(path: Path, seconds: float, processor: float) -> None:
    """A benchmark file as Snakemake writes one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"
    path.write_text(f"{head}\n{seconds:.2f}\t0:00:00\t1\t1\t1\t1\t0\t0\t0\t{processor:.2f}\n", encoding="utf-8")


def test_a_job_that_waited_for_processors_costs_what_it_computed(tmp_path: Path):
    benchmark(tmp_path / "b.tsv", 246.0, 0.5 * 225.5)  # the last look was at 15.5 + 7 x 30 = 225.5 s
    assert measured.measured_seconds(tmp_path / "b.tsv", threads=1) == pytest.approx(123.0)
    assert measured.measured_seconds(tmp_path / "b.tsv", threads=None) == 246.0


def test_a_job_that_ran_alone_costs_its_wall_clock_though_the_benchmark_did_not_see_its_end(tmp_path: Path):
    benchmark(tmp_path / "b.tsv", 25.52, 15.5)
    assert measured.measured_seconds(tmp_path / "b.tsv", threads=1) == pytest.approx(25.52)


@pytest.mark.parametrize("content", ["", "s\tcpu_time\n", "s\tcpu_time\nNA\tNA\n"])
def test_a_benchmark_that_was_cut_off_is_no_measurement(tmp_path: Path, content: str):
    (tmp_path / "b.tsv").write_text(content, encoding="utf-8")
    assert measured.measured_seconds(tmp_path / "b.tsv", threads=1) is None


@pytest.mark.parametrize("told", ["", ", going on from an earlier attempt"])
def test_a_job_that_went_on_from_an_earlier_attempt_is_no_measurement(tmp_path: Path, told: str):
    benchmark(tmp_path / "m.benchmark.tsv", 7, 7)
    (tmp_path / "m.log").write_text(f"{'a line' * 9999}\nselfdistill pretrain-model: 7.0 s{told}\n", encoding="utf-8")
    assert measured.measured_seconds(tmp_path / "m.benchmark.tsv", threads=1) == (None if told else 7)


def planted(default: plan.Plan, root: Path, factor: float, spread: float = 0.0) -> plan.Plan:
    """The default study in ``root`` with all jobs of fine-tuning and evaluation done, at ``factor`` times the table."""
    shutil.copytree(ROOT / "config", root / "config")
    study = replace(default.study, root=root)
    jobs = []
    for number, job in enumerate(default.graph.jobs):
        if job.rule in ("train_sft", "evaluate_model"):
            work = work_of(job.rule, job.wildcards, study)
            expected = costs.expected_seconds(job.rule, work, study, job.threads).typical
            seconds = expected * factor * (1 + spread * (number % 5 - 2))
            benchmark(root / str(job.benchmark), seconds, seconds)
            for name in job.outputs:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).touch()
            job = replace(job, pending=False, cause=Cause())
        jobs.append(job)
    return plan.Plan(replace(default.graph, jobs=tuple(jobs)), study)


def test_planted_rates_are_found_again(default: plan.Plan, tmp_path: Path):
    found = planted(default, tmp_path, factor=3.0)
    for job in found.graph.jobs:
        table, learned = default.costs[job.id], found.costs[job.id]
        if job.rule in ("train_sft", "evaluate_model"):
            assert learned.seconds.typical == pytest.approx(3 * table.seconds.typical, rel=0.01)
            assert learned.source == costs.HERE
        else:
            assert learned == table
    error = costs.errors(measured.finished(found.graph, found.study))["evaluate_model"]
    assert error.worst < 0.01
    assert error.scale == pytest.approx(3.0, rel=0.01)


def test_the_range_holds_the_planted_truth_and_says_how_far_it_was_off(default: plan.Plan, tmp_path: Path):
    found = planted(default, tmp_path, factor=2.0, spread=0.2)
    job = next(job for job in found.graph.jobs if job.rule == "evaluate_model")
    truth = 2.0 * default.costs[job.id].seconds.typical
    learned = found.costs[job.id].seconds
    assert learned.low < 0.9 * truth < truth < 1.1 * truth < learned.high
    error = costs.errors(measured.finished(found.graph, found.study))["evaluate_model"]
    assert 0.1 < error.median < error.worst < 0.8


def test_few_measured_jobs_give_a_wider_range():
    few = [measured.Finished("rule", 10.0, seconds) for seconds in (20.0, 22.0)]
    errors = costs.errors([*few, *few])["rule"]
    assert errors.inside == 4
    scale = costs._scale(few, costs.HERE)
    assert scale.factor.low < 2.0 / 1.4
    assert scale.factor.high > 2.2 * 1.4


def test_jobs_of_another_configuration_are_not_taken_for_measurements(default: plan.Plan, tmp_path: Path):
    found = planted(default, tmp_path, factor=3.0)
    fewer = Cause(before=frozenset({"'--samples=4'"}), now=frozenset({"'--samples=16'"}))
    stale = {
        job.id: replace(job, cause=fewer, pending=True)
        for job in found.graph.jobs
        if job.rule == "evaluate_model" and job.params["asked"] == "--samples=16"
    }
    jobs = tuple(stale.get(job.id, job) for job in found.graph.jobs)
    changed = plan.Plan(replace(found.graph, jobs=jobs), found.study)
    assert not any(job.rule == "evaluate_model" for job in measured.finished(changed.graph, changed.study))


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("--steps 30", "--steps 30 --engine transformers --rank 0", False),
        ("--steps 30", "--steps 60", True),
        ("--steps 30", "--steps 30 --size 50", True),
        (30, 60, True),
    ],
)
def test_a_flag_that_a_new_version_brings_leaves_the_measurement_valid(old: object, new: object, changed: bool):
    job = job_with(Cause(before=frozenset({repr(old)}), now=frozenset({repr(new)})), flags=new)
    assert causes.may_change_work(job) == changed


def test_after_a_change_of_the_configuration_jobs_count_by_the_one_they_ran_with(default: plan.Plan, tmp_path: Path):
    ran = planted(default, tmp_path, factor=3.0)
    recorded = tmp_path / "results" / "microcosm" / "config.yaml"
    recorded.write_text(yaml.safe_dump(as_json(ran.study.config)), encoding="utf-8")
    values = as_json(ran.study.config)
    values["evaluation"]["samples"] *= 4
    now = plan.Plan(ran.graph, replace(ran.study, config=parse(values)))
    table = plan.Plan(default.graph, replace(default.study, config=parse(values)))
    for job in now.graph.jobs:
        if job.rule == "evaluate_model":
            assert now.costs[job.id].seconds.typical == pytest.approx(3 * table.costs[job.id].seconds.typical, rel=0.01)


def test_another_study_of_the_same_models_stands_in(default: plan.Plan, tmp_path: Path):
    there = planted(default, tmp_path, factor=3.0)
    recorded = tmp_path / "results" / "microcosm" / "config.yaml"
    recorded.write_text(yaml.safe_dump(as_json(there.study.config)), encoding="utf-8")
    config = replace(there.study.config, study="mine")
    jobs = tuple(replace(job, outputs=("results/mine/nothing",)) for job in default.graph.jobs)
    mine = plan.Plan(replace(default.graph, jobs=jobs), replace(there.study, config=config))
    costs_here = [mine.costs[job.id] for job in mine.graph.jobs if job.rule == "train_sft"]
    assert {cost.source for cost in costs_here} == {costs.ELSEWHERE}
    tables = [default.costs[job.id].seconds.typical for job in mine.graph.jobs if job.rule == "train_sft"]
    assert [cost.seconds.typical for cost in costs_here] == pytest.approx([3 * s for s in tables], rel=0.01)


# --- work ---------------------------------------------------------------------------------------------------------


def test_work_follows_the_configuration(default: plan.Plan):
    """Twice the samples, twice the tokens; half of the steps, half of the rollouts."""
    values = as_json(default.study.config)
    values["evaluation"]["samples"] *= 2
    onpolicy = values["onpolicy"]
    onpolicy["steps"] //= 2
    onpolicy["checkpoint_steps"] = [step for step in onpolicy["checkpoint_steps"] if step <= onpolicy["steps"]]
    other = replace(default.study, config=parse(values))
    base = {"model": "microcosm", "run": "base", "benchmark": "easy"}
    run = {"model": "microcosm", "run": "grpo-train-lr0.0003-seed0"}
    for rule, wildcards, factor in (("evaluate_model", base, 2.0), ("train_onpolicy", run, 0.5)):
        before, after = (work_of(rule, wildcards, study).tokens.typical for study in (default.study, other))
        assert after == pytest.approx(factor * before)


def test_work_follows_what_a_run_has_of_its_own_and_what_is_asked_more_often(default: plan.Plan):
    values = as_json(default.study.config)
    asked = {"evaluation_samples": 4, "evaluation_problems": 50, "evaluation_deep": {"problems": 10, "samples": 20}}
    values["onpolicy"] |= asked | {"steps": 60, "evaluation_trained": {"problems": 7, "samples": 3}}
    values["onpolicy"]["benchmarks"]["train"] = ["easy", "trained"]
    row = {"model": "microcosm", "method": "grpo", "learning_rate": 3e-4, "draw": 0}
    values["onpolicy"]["runs"] = [
        row | {"problems": None, "steps": 15},
        row | {"problems": 2, "seed": 1},
        row | {"model": "microcosm_off", "problems": None, "steps": 15},
        {"model": "microcosm_off", "method": "grpo", "learning_rate": 3e-4, "problem_set": "narrow"},
    ]
    other = replace(default.study, config=parse(values))
    short, small = "grpo-train-lr0.0003-seed0", "grpo-train-n2-draw0-lr0.0003-seed1"

    def tokens(rule, run, **labels):
        work = work_of(rule, {"model": "microcosm", "run": run, **labels}, other)
        return work.tokens.typical / work.length.typical

    assert tokens("train_onpolicy", short) == 15 * 8 * 8
    assert tokens("train_onpolicy", small) == 60 * 8 * 8
    # Per checkpoint: 40 problems with 4 samples and 10 with 20, and own ones with 3. The short run reaches one of two.
    assert tokens("evaluate_checkpoints", short) == pytest.approx(40 * 4 + 10 * 20 + 7 * 3)
    assert tokens("evaluate_checkpoints", small) == pytest.approx(2 * (40 * 4 + 10 * 20 + 2 * 3))
    assert tokens("evaluate_model", "base", benchmark="trained") == (7 + 2) * 3


def test_every_rule_has_a_cost(default: plan.Plan):
    """A new rule needs a line in config/costs.yaml; the sentence says which."""
    for rule in default.graph.rules:
        default.study.assumed.seconds(rule)
    other = replace(default.study.assumed, kind="published")
    for rule in default.graph.rules:
        other.seconds(rule)
    assert set(RULES) <= set(default.graph.rules), "work.RULES names a rule that the workflow does not have"
    for line in other.rules:
        assert fnmatch.filter(default.graph.rules, line), f"config/costs.yaml: the workflow has no rule '{line}'"


def test_a_rule_without_a_cost_says_what_to_add(default: plan.Plan):
    with pytest.raises(UserError, match=r"no line for rule 'make_curve' \(did you mean 'make_curves'\?\); add one"):
        default.study.assumed.seconds("make_curve")


def test_figures_share_a_line_of_costs_and_one_may_have_its_own(default: plan.Plan):
    published = replace(default.study.assumed, kind="published")
    assert published.seconds("draw_fig_3") == published.seconds("draw_fig_33") == Range(2, 3, 10)
    assert published.seconds("draw_fig_2") == Range(2, 5, 30)


# --- artifacts and claims -----------------------------------------------------------------------------------------


def test_every_table_and_figure_has_a_name_and_a_job(default: plan.Plan):
    names = waiting.artifacts(default.graph)
    assert {f"Figure {number}" for number in range(1, 9)} | {"Table 1", "Table 2", "Table 3"} <= set(names)
    made = waiting.makers(default.graph)
    assert set(default.graph.targets) <= set(made)
    assert len({waiting.name_of(path) for path in default.graph.targets}) == len(names)


def test_an_artifact_without_a_name_says_what_to_add():
    with pytest.raises(UserError, match="add 'index', or 'atlas', to NAMES"):
        waiting.name_of("results/microcosm/atlas/index.html")


def test_every_claim_hangs_on_a_rule(default: plan.Plan):
    """On the responses that its tests compare; one without tests or without a model on the ledger."""
    claims = read_claims(ROOT / "config" / "claims.yaml")
    assert list(default.claims) == [claim.id for claim in claims]
    study = default.study
    roles, runs = study.config.claims.roles, study.runs.values()
    methods, contexts = {run.method for run in runs}, {run.context for run in runs}
    sets = {run.data for run in study.sft_runs.values()}

    def there(test: Comparison) -> bool:
        """The default study asks no run for its own problems, and does not measure what contexts tell, nor where
        gradients point; it has no edited sets, nor other methods, contexts and words.
        """
        known = all(
            cell.data in (None, "base", *sets)
            and cell.method in (None, "base", *methods)
            and cell.context in (None, *contexts)
            and cell.words is None
            for cell in cells_of(test)
        )
        return known and test.benchmark != TRAINED and test.of not in ("information", "alignment")

    for claim in claims:
        testable = bool(claim.tests) and roles[str(claim.role)] is not None and any(map(there, claim.tests))
        assert bool(default.claims[claim.id]) == testable, claim.id
    ledger = waiting.artifacts(default.graph)["Claims ledger"]
    everything = waiting.below(default.graph)
    makes_ledger = next(job for job in default.graph.jobs if job.rule == "make_ledger")
    assert ledger <= everything[makes_ledger.id]


def test_a_claim_hangs_on_the_responses_that_it_compares(default: plan.Plan):
    jobs = {job.id: "/".join([job.rule, *job.wildcards.values()]) for job in default.graph.jobs}
    assert {jobs[job] for job in default.claims["moving-teacher-shortens"]} == {
        "train_onpolicy/microcosm/sdpo-train-lr0.0003-k100-seed0",
        "train_onpolicy/microcosm/sdpo-ema0.05-train-lr0.0003-k100-seed0",
    }
    assert {jobs[job] for job in default.claims["guidance-raises-score"]} == {
        "sample_guidance/microcosm/unguided",
        "sample_guidance/microcosm/solution",
    }


@pytest.mark.parametrize("overlay", ["smoke", "carrier", "thorough", "beyond", "beyond_carrier"])
def test_the_claims_of_every_shipped_study_hang_on_responses(default: plan.Plan, overlay: str):
    """As many of them as have tests, a model and measurements there; each file here has a job of its own."""
    study = replace(default.study, config=parse(configured(overlay)))
    files = sorted({path for path, _ in waiting._labelled(study)})
    jobs = tuple(replace(job_with(Cause()), id=place, outputs=(path,)) for place, path in enumerate(files))
    found = waiting.claim_jobs(replace(default.graph, jobs=jobs), study)
    aligned = {file for file in files if file.startswith(f"results/{study.config.study}/alignment/")}
    assert len(aligned) == (len(study.config.selection.models) if study.config.guidance.alignment else 0)
    for claim in read_claims(ROOT / "config" / "claims.yaml"):
        if any(test.of == "alignment" for test in claim.tests):
            assert {files[job] for job in found[claim.id]} == aligned
    # The second world is judged by its gate alone.
    gate = overlay == "beyond_carrier"
    assert bool(found["markers-carry-in-the-second-world"]) >= gate and bool(found["guided-sft-degrades"]) != gate


def test_a_plan_of_a_study_never_run_shows_every_artifact_and_claim_with_a_time(default: plan.Plan):
    text = "\n".join(plan.lines(default, None))
    for name in [*waiting.artifacts(default.graph), *default.claims]:
        assert name in " ".join(text.split())
    assert "there already" not in text
    assert max(map(len, text.splitlines())) <= 120
    last = max(default.ends.values(), key=lambda end: end.typical)
    whole = total(default.time([job]) for job in default.graph.jobs)
    assert whole.typical <= last.typical <= 1.2 * whole.typical  # two cores are kept busy nearly all the time


FIGURE_3 = {"grpo-train-lr0.0003-seed0", "sdpo-train-lr0.0003-k100-seed0", "sdpo-nothink-train-lr0.0003-k100-seed0"}


def trained(shown: plan.Plan) -> set[str]:
    return {"/".join(job.wildcards.values()) for job in shown.graph.jobs if job.rule == "train_onpolicy"}


def test_a_figure_waits_for_the_runs_that_it_shows_and_the_table_of_runs_for_all(default: plan.Plan):
    assert trained(default.only(["Figure 3"])) == {f"microcosm/{run}" for run in FIGURE_3}
    assert trained(default.only(["Table of on-policy runs"])) == trained(default)
    assert trained(default.only(["Table 1", "Figure of fine-tuning losses"])) == set()
    one_type = {run for run in trained(default) if "narrow" in run}
    assert len(one_type) == 2 and one_type < trained(default.only(["section_1"])) < trained(default)
    assert trained(default.only(["section_6"])) == trained(default.only(["Figure 7", "Figure 8"]))
    assert len(trained(default.only(["Figure 7"]))) == 10


def test_a_target_is_planned_alone_at_the_costs_of_the_whole(default: plan.Plan):
    only = default.only(["Figure 3"])
    jobs = only.graph.jobs
    assert all(only.costs[job.id] == default.costs[job.id] for job in jobs)
    row = next(line for line in plan.lines(default, None) if line.startswith("Figure 3 "))
    assert row.split()[2] == str(len(jobs)) and only.said(only.time(jobs)) in row
    text = " ".join(" ".join(plan.lines(only, None)).split())
    assert f"'microcosm', for Figure 3, on 2 cores: {len(jobs)} jobs" in text
    assert "Table 1" not in text and "grpo-improves-training" in text
    assert "guidance-shortens" not in text and "moving-teacher-shortens" not in text  # not whole with these jobs


def test_a_claim_is_a_target(default: plan.Plan):
    assert trained(default.only(["moving-teacher-shortens"])) == {
        "microcosm/sdpo-train-lr0.0003-k100-seed0",
        "microcosm/sdpo-ema0.05-train-lr0.0003-k100-seed0",
    }


def test_money_is_gpu_hours_times_its_price(default: plan.Plan):
    jobs = tuple(
        replace(job, resources={**job.resources, "gpu": 4}) if job.rule == "train_sft" else job
        for job in default.graph.jobs
    )
    on_gpus = plan.Plan(replace(default.graph, jobs=jobs), default.study)
    hours = total(on_gpus.costs[job.id].seconds * (on_gpus.costs[job.id].gpus / 3600) for job in jobs)
    assert on_gpus.time(jobs).typical / 3600 == pytest.approx(hours.typical)
    assert hours.typical > 0
    row = next(line for line in plan.lines(on_gpus, 1000.0) if line.startswith("train_sft"))
    assert plan.bracketed(hours * 1000.0) in row
    assert "money" not in "\n".join(plan.lines(on_gpus, None))
    assert "no money is asked" in "\n".join(plan.lines(default, 2.5))


# --- causes -------------------------------------------------------------------------------------------------------


def job_with(cause: Cause, **params: object) -> Job:
    return Job(1, "train", {}, (), ("out",), params, 1, {}, None, True, cause, frozenset())


def test_a_changed_flag_is_named_with_both_values():
    now = "--rollouts 8 --low 0.25 --high 0.5"
    before = frozenset({repr("--rollouts 8 --low 0.125 --high 0.5"), repr("0123456789abcdef")})
    job = job_with(
        Cause(before=before, now=frozenset({repr(now), repr("0123456789abcde0")})), code="0123456789abcde0", flags=now
    )
    assert causes.in_words(job, {}, ever_made=True) == [
        "the code of train changed (digest 0123456789abcdef -> 0123456789abcde0)",
        "parameter `flags` changed: --low 0.125 -> 0.25",
    ]


@pytest.mark.parametrize(
    ("before", "told"),
    [("", "selfdistill.sif (none) -> b2"), ("; selfdistill.sif a1", "selfdistill.sif a1 -> b2")],
)
def test_an_image_that_was_built_again_is_named(before: str, told: str):
    now = "0123456789abcdef; selfdistill.sif b2"
    job = job_with(Cause(before=frozenset({repr(f"0123456789abcdef{before}")}), now=frozenset({repr(now)})), code=now)
    assert causes.in_words(job, {}, ever_made=True) == [f"installed packages changed: {told}"]


def test_of_a_configuration_only_the_changed_keys_are_named():
    values = ({"seed": 0, "selection": {"low": low, "high": 0.5}} for low in (0.125, 0.25))
    old, new = (shlex.join([f"--values={json.dumps(one)}"]) for one in values)
    assert causes.difference(old, new) == "selection.low 0.125 -> 0.25"


def test_a_job_without_files_was_never_made():
    assert causes.in_words(job_with(Cause(missing=("out",), remade=("in",))), {}, ever_made=False) == ["never made"]


TINY = """
rule all:
    input: "results/tiny/tables/table_1.md", "results/tiny/figures/fig_3.svg"
rule sample:
    output: "results/tiny/responses.txt"
    params: code="0123456789abcdef", flags=f"--samples {config['samples']} --low {config['low']}"
    shell: "echo {params.flags} > {output}"
rule render:
    input: rules.sample.output
    output: "results/tiny/tables/table_1.md"
    shell: "cp {input} {output}"
rule paint:
    output: "results/tiny/figures/fig_3.svg"
    shell: "touch {output}"
"""


@pytest.fixture(scope="module")
def finished_workflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workflow of three rules, run once with Snakemake."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "Snakefile").write_text("configfile: 'settings.yaml'\n" + TINY, encoding="utf-8")
    (folder / "settings.yaml").write_text("{samples: 8, low: 0.125}\n", encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder


@pytest.fixture
def tiny(finished_workflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished_workflow, tmp_path / "tiny")
    monkeypatch.chdir(tmp_path / "tiny")
    return tmp_path / "tiny"


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(folder.rglob("*"))}


def test_a_changed_value_is_explained_with_old_and_new_value_and_what_hangs_on_it(tiny: Path):
    (tiny / "settings.yaml").write_text("{samples: 8, low: 0.25}\n", encoding="utf-8")
    before = snapshot(tiny)
    graph = dag.read()
    assert snapshot(tiny) == before
    jobs = {job.rule: job for job in graph.jobs}
    assert {rule for rule, job in jobs.items() if job.pending} == {"sample", "render"}
    maker = {path: job.rule for path, job in waiting.makers(graph).items()}
    assert causes.in_words(jobs["sample"], maker, ever_made=True) == ["parameter `flags` changed: --low 0.125 -> 0.25"]
    assert causes.in_words(jobs["render"], maker, ever_made=True) == ["inputs will be remade by sample"]
    hanging = waiting.below(graph)[jobs["sample"].id]
    reached = {name for name, made in waiting.artifacts(graph).items() if made & hanging}
    assert reached == {"Table 1"}


def test_nothing_pending_is_told_in_one_line(tiny: Path):
    graph = dag.read()
    assert not any(job.pending for job in graph.jobs)
    done = plan.Plan(graph, SimpleNamespace())  # type: ignore[arg-type]
    assert list(explain.lines(done, [])) == [
        "Nothing is to be done: every table and figure of the study is up to date."
    ]
    assert list(explain.lines(done, ["Figure 3"])) == ["Nothing is to be done: Figure 3 is up to date."]


def test_a_missing_output_and_a_lock_of_another_run_are_no_hindrance(tiny: Path):
    (tiny / "results/tiny/figures/fig_3.svg").unlink()
    locks = tiny / ".snakemake" / "locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text(f"{tiny}/results/tiny/figures/fig_3.svg\n", encoding="utf-8")
    before = snapshot(tiny)
    pending = [job for job in dag.read().jobs if job.pending]
    assert [job.rule for job in pending] == ["paint"]
    assert causes.in_words(pending[0], {}, ever_made=True) == ["an output is not there any more"]
    assert snapshot(tiny) == before


def test_a_folder_without_records_stays_without(tiny: Path):
    shutil.rmtree(tiny / ".snakemake")
    before = snapshot(tiny)
    dag.read()
    assert snapshot(tiny) == before


# --- explain on the study -----------------------------------------------------------------------------------------


def test_a_target_limits_the_explanation_to_what_it_needs(
    default: plan.Plan, checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(checkout)
    text = "\n".join(explain.lines(default, ["Table 1"]))
    assert "5 jobs of sample_guidance" in text
    assert "train_onpolicy" not in text
    assert "19 jobs of train_onpolicy" in "\n".join(explain.lines(default, []))


def test_an_explanation_names_only_the_claims_that_hang_on_a_job(
    default: plan.Plan, checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(checkout)
    jobs = tuple(
        replace(job, pending=job.rule == "train_sft", cause=Cause(rule_changed=True)) for job in default.graph.jobs
    )
    text = " ".join(" ".join(explain.lines(plan.Plan(replace(default.graph, jobs=jobs), default.study), [])).split())
    assert "guided-sft-degrades" in text
    assert "Table 2" in text
    assert "grpo-improves-training" not in text
    assert "Figure 3" not in text


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            ["plan", "--configfile", "config/papr.yaml"],
            "config/papr.yaml: not there (did you mean 'config/paper.yaml'?)",
        ),
        (["plan", "--profile", "profiles/slrm"], "profiles/slrm: not there (did you mean 'profiles/slurm'?)"),
        (["plan", "--price", "-1"], "--price: -1; money per GPU-hour must be 0 or more"),
        (["explain", "--cores", "0"], "--cores: 0; it must be 1 or more"),
        (["plan", "--target", "section_9"], "nothing of this study is called 'section_9' (did you mean 'section_"),
        (
            ["explain", "--target", "Figure 33"],
            "nothing of this study is called 'Figure 33' (did you mean 'Figure 3'?)",
        ),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, command: list[str], sentence: str
):
    monkeypatch.chdir(checkout)
    assert cli.main(command) == 2
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.out == ""


def test_a_configuration_that_is_no_text_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "mine.yaml").write_bytes("study: café".encode("latin-1"))
    with pytest.raises(UserError, match=r"mine\.yaml: not UTF-8 text \(byte 10\); save it as UTF-8"):
        dag.read(configfiles=[tmp_path / "mine.yaml"])


@pytest.mark.parametrize("flag", ["configfiles", "profiles"])
def test_a_file_without_keys_and_a_broken_link_are_told_by_their_names(flag, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(ROOT)
    empty, listed, link = (tmp_path / name for name in ("empty.yaml", "list.yaml", "link"))
    empty.write_text("# seed: 3\n")
    listed.write_text("- seed")
    link.symlink_to("/gone/mine")
    sentences = {empty: "expected keys and their values, found none", listed: "expected keys and their values"}
    for file, sentence in (sentences | {link: "a link to /gone/mine, which is not there"}).items():
        with pytest.raises(UserError, match=rf"^{file}: {sentence}"):
            dag.read(**{flag: [file]})


def test_a_profile_may_be_given_as_its_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(dag, "_build", lambda flags: flags)
    assert str(ROOT / "config/paper.yaml") in dag.read(profiles=[Path("profiles/paper/config.yaml")])


def test_a_folder_for_a_configuration_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=r"^config: a folder, where a configuration file is expected$"):
        dag.read(configfiles=[Path("config")])


def test_outside_a_repository_it_says_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no Snakefile here; run this in the root of the repository"):
        dag.read()


def test_a_wrong_configuration_is_told_in_its_own_sentence(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(checkout)
    (tmp_path / "my.yaml").write_text("selection: {rolouts: 8}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"unknown key 'selection.rolouts' \(did you mean 'rollouts'\?\)"):
        dag.read(configfiles=[tmp_path / "my.yaml"])


@pytest.mark.parametrize(
    ("place", "name"), [("snakemake.dag:DAG", "needrun"), ("snakemake.jobs:Reason", "missing_output")]
)
def test_a_snakemake_without_what_is_read_is_told(monkeypatch: pytest.MonkeyPatch, place: str, name: str):
    monkeypatch.setitem(dag.INTERNALS, place, (f"{name}_of_old",))
    with pytest.raises(UserError, match=f"no longer has {place}.{name}_of_old.*dag.py"):
        dag.check_internals()


def test_the_paper_study_is_planned_through_its_profile(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(checkout)
    files = {str(path) for folder in (".snakemake", "results", "work", "logs") for path in Path(folder).rglob("*")}
    paper = ["--configfile", "config/paper.yaml", "--profile", "profiles/slurm"]
    assert cli.main(["plan", *paper, "--price", "2.5"]) == 0
    text = capsys.readouterr().out
    assert "on a cluster, 40 jobs at a time" in text
    assert "measured" not in text
    assert "assumed" in text
    assert "GPU-hours" in text and "money" in text
    assert files == {str(p) for folder in (".snakemake", "results", "work", "logs") for p in Path(folder).rglob("*")}
    Path("mine.yaml").write_text("study: mine\n")
    both = dag.read(configfiles=[Path("mine.yaml")], profiles=[Path("profiles/paper"), Path("profiles/slurm")])
    assert {job.rule for job in both.jobs} >= {"register_model", "train_onpolicy"}
    assert "pretrain_model" not in {job.rule for job in both.jobs}
