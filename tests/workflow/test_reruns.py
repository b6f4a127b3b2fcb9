"""Only what an edit changes is run again."""

import os
import re
import shutil

import pytest
import yaml
from project import FIGURES
from selfdistill import code_digest
from selfdistill.artifacts import VIEWED
from selfdistill.records import lineage
from selfdistill.records.attempts import GOES_ON
from selfdistill.records.bundle import Records


def test_nothing_changed_nothing_runs(project):
    assert project.pending() == {}
    assert "Nothing to be done" in project.snakemake()


def test_a_figures_colour_redraws_that_figure(project):
    before = project.results()
    project.edit("workflow/scripts/draw_selection.py", '"#b8b8b8"', '"#778899"')
    assert project.pending() == {"draw_selection": 1}
    project.snakemake()
    after = project.results()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {f"figures/selection.{kind}" for kind in ("png", "svg", "pdf")}
    assert project.pending() == {}


def test_a_caption_makes_that_figure_again(project):
    project.edit("workflow/scripts/draw_selection.py", "There are no intervals", "There are no bars")
    assert project.pending() == {"draw_selection": 1}
    project.edit("workflow/report/curves.rst", "*Bars* are intervals", "*Lines* are intervals")
    assert project.pending().keys() == {f"draw_{name}" for name in (*VIEWED, "selection")}


def test_the_upper_bound_reruns_selection_and_what_follows(project):
    project.edit("config/smoke.yaml", "selection: {", "selection: {high: 0.375, ")
    pending = project.pending()
    assert pending["select_borderline"] == 1
    assert {"sample_guidance", "collect_correct", "train_sft", "make_table_1", "draw_selection"} <= pending.keys()
    assert not {"pretrain_model", "load_problems"} & pending.keys()


def test_a_comment_in_the_library_reruns_nothing(project):
    modules = ("generation/selection", "tables", "microcosm/world", "stages/traces", "figures/plotting")
    for module in modules:
        path = project.folder / "workflow" / "selfdistill" / f"{module}.py"
        path.write_text("# A remark.\n" + path.read_text().replace('"""\n', '"""\n# Another remark.\n', 1))
    assert project.pending() == {}


def test_a_changed_constant_reruns_the_stages_that_use_it(project):
    project.edit("workflow/selfdistill/pages/rendering.py", '"truncated": 3', '"truncated": 4')
    assert project.pending() == {"render_table": 6}


def test_a_constant_of_the_world_reruns_pretraining(project):
    project.edit("workflow/selfdistill/microcosm/world.py", "TABLE_SEED = 12345", "TABLE_SEED = 54321")
    assert {"pretrain_model", "load_problems"} <= project.pending().keys()


def test_a_quoted_number_reruns_its_tables_only(project):
    project.edit("workflow/selfdistill/analysis/quoted.py", '"AIME24": 54.79', '"AIME24": 54.8')
    assert project.pending() == {"make_table_2": 1, "render_table": 1, "draw_table_2": 1}


def test_a_changed_run_is_the_only_one_trained_again(project):
    project.edit("config/smoke.yaml", "teacher_update_rate: 0.05", "teacher_update_rate: 0.1")
    pending = project.pending()
    once = ("train_onpolicy", "evaluate_checkpoints", "list_runs", "make_curves", "make_figure_curves", "draw_fig_6")
    assert {name: pending[name] for name in once} == dict.fromkeys(once, 1)
    assert not {"draw_fig_3", "draw_fig_7"} & pending.keys()  # they do not show that run
    assert not {"pretrain_model", "train_sft", "evaluate_model"} & pending.keys()


def test_other_steps_of_a_run_train_that_run_alone_and_its_model_answers_what_it_trains_on(project):
    project.edit("config/smoke.yaml", "teacher_update_rate: 0.05}", "teacher_update_rate: 0.05, steps: 2}")
    pending = project.pending()
    assert pending["train_onpolicy"] == pending["evaluate_checkpoints"] == pending["list_trained"] == 1
    # What the other runs train on is asked of the base model as before, and that run's problems are among it.
    assert pending["evaluate_model"] == 1
    assert not {"pretrain_model", "select_borderline", "train_sft"} & pending.keys()


@pytest.mark.parametrize(("setting", "runs"), [("sdpo: {demonstration: first}", 7), ("grpo: {clip_high: 0.3}", 3)])
def test_a_setting_of_one_method_reruns_its_runs_alone(project, setting, runs):
    project.edit("config/smoke.yaml", "  warmup_steps: 1\n", f"  warmup_steps: 1\n  {setting}\n")
    pending = project.pending()
    assert pending["train_onpolicy"] == pending["evaluate_checkpoints"] == runs
    assert not {"pretrain_model", "select_borderline", "train_sft", "evaluate_model", "make_table_1"} & pending.keys()


def test_the_code_of_a_method_reruns_the_runs_of_that_method(project):
    project.edit("workflow/selfdistill/training/sdpo.py", '"teacher.safetensors"', '"self_teacher.safetensors"')
    assert project.pending()["train_onpolicy"] == 7


def test_what_a_figure_shows_redraws_that_figure(project):
    project.edit("config.yaml", "grpo: 3.0e-4, sdpo: 3.0e-3}}", "grpo: 3.0e-4, sdpo: 3.0e-4}}")
    assert project.pending() == {"make_figure_curves": 1, "draw_fig_4": 1}


def test_a_new_figure_is_the_only_thing_that_is_drawn(project):
    project.add_example_figure()
    assert project.pending() == {"make_figure_curves": 1, "draw_fig_toy": 1}
    project.snakemake("results/smoke/figures/fig_toy.svg")
    results = project.folder / "results" / "smoke"
    record = lineage.read_record(results / "figures" / "fig_toy.csv", Records(results))
    assert record.maker == "draw-figure" and record.parameters["figure"] == "fig_toy"


# --- what is beside the code ---


def test_a_package_reruns_the_stages_that_compute_with_it(project):
    project.install("seaborn", "99.0")
    pending = project.pending()
    drawn = {f"draw_{name}" for name in FIGURES if uses(name, "seaborn")}
    # The reading room shows the examples of Figure 2: drawn alike, they leave it as it is.
    assert set(pending) == drawn | {"build_reading_room"} and len(drawn) > 1
    assert re.search(r"installed packages changed: seaborn [\d.]+ -> 99\.0", project.explain())


def uses(figure, package):
    return package in code_digest.packages(code_digest.PACKAGE_ROOT / "scripts" / f"draw_{figure}.py")


def test_the_variables_of_jobs_rerun_everything_and_how_records_are_written_nothing(project):
    project.edit("workflow/selfdistill/records/provenance.py", '"finished": ', '"ended": ')
    assert project.pending() == {}
    project.edit("workflow/selfdistill/environment.py", '"OMP_WAIT_POLICY": "passive"', '"OMP_WAIT_POLICY": "active"')
    assert sum(project.pending().values()) > 70


def test_how_flags_are_read_reruns_everything(project):
    project.edit("workflow/selfdistill/cli.py", 'NULL = "null"', 'NULL = "nil"')
    assert sum(project.pending().values()) > 70


def test_what_accelerate_is_told_reruns_training_and_a_comment_there_does_not(project):
    told = ("--set-resources", "train_sft:accelerate=config/accelerate/ddp.yaml")
    before = project.pending(*told)
    assert before["train_sft"] == 3
    project.edit("config/accelerate/ddp.yaml", "\n", "\n# A remark.\n")
    assert project.pending(*told) == before
    assert "train_onpolicy" not in before


def test_memory_the_order_of_runs_and_what_nothing_uses_rerun_nothing(project):
    project.edit("config/smoke.yaml", "micro_batch_size: 8}", "micro_batch_size: 4}")
    project.edit("config/smoke.yaml", "\n  micro_batch_size: 8", "\n  micro_batch_size: 4")
    study = project.folder / "config" / "smoke.yaml"
    values = yaml.safe_load(study.read_text())
    values["onpolicy"]["runs"].reverse()
    values.setdefault("models", {})["unused"] = {"source": "microcosm", "seed": 7}
    values["problem_sets"]["unused"] = {"source": "microcosm", "split": "easy", "size": 4}
    study.write_text(yaml.safe_dump(values, sort_keys=False))
    assert project.pending() == {}


def test_where_step_metrics_are_also_sent_reruns_nothing(project):
    project.edit("config/smoke.yaml", "  warmup_steps: 1\n", "  warmup_steps: 1\n  mirrors: [tensorboard]\n")
    assert project.pending() == {}
    shutil.rmtree(project.folder / ".snakemake")
    assert "train_onpolicy" not in project.pending()


def test_a_statement_reruns_the_ledger_and_a_comment_there_nothing(project):
    claims = project.folder / "config" / "claims.yaml"
    claims.write_text("# A remark.\n" + claims.read_text())
    assert project.pending() == {}
    status, output = project.run("selfdistill", "verify", "results/smoke")
    assert status == 0, output
    project.edit("config/claims.yaml", "statement: ", "statement: Truly, ")
    assert project.pending() == {"make_ledger": 1, "render_ledger": 1, "export_claims": 1}


@pytest.mark.parametrize("remark", ["# A remark.\n", ""])
def test_a_comment_in_a_figures_script_and_a_touch_redraw_nothing(project, remark):
    for script in (project.folder / "workflow" / "scripts").glob("*.py"):
        script.write_text(script.read_text() + remark)
    assert project.pending() == {}


def test_another_evaluation_trains_nothing_again_and_where_checkpoints_are_gone_the_price_is_said(project):
    project.edit("config/smoke.yaml", "evaluation_samples: 2", "evaluation_samples: 3")
    pending = project.pending()
    assert pending["evaluate_checkpoints"] == 10 and "train_onpolicy" not in pending
    run = "microcosm_off/grpo-train-n2-draw0-lr0.0003-seed0"
    shutil.rmtree(project.folder / "results" / "smoke" / "models" / run)
    log = project.folder / "logs" / "smoke" / "train_onpolicy" / f"{run}.log"
    log.write_text(f"{log.read_text().rstrip()}, {GOES_ON}\n")
    output = project.snakemake(f"results/smoke/evaluations/{run}/along_training.parquet")
    told = "1 of the pending trainings only make checkpoints again"
    assert re.search(rf"{told}.* took more than \d+\.\d minutes", output)
    assert GOES_ON not in log.read_text()  # its work folder went when it was done


# --- results that are not what their records say ---


def test_an_edited_table_is_made_again_though_its_time_is_kept(project):
    before = project.results()
    path = project.folder / "results" / "smoke" / "tables" / "table_1.csv"
    kept = path.stat()
    path.write_text(path.read_text().replace("0", "1", 1))
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert project.pending() == {"render_table": 1}
    assert "table_1.csv is not what its record says" in project.explain()
    project.snakemake()
    assert project.results() == before
    assert project.pending() == {}


def test_a_changed_bit_in_weights_and_a_deleted_table_that_nobody_reads_are_made_again(project):
    results = project.folder / "results" / "smoke"
    weights = next((results / "models" / "microcosm").glob("sft-*/model.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert project.pending()["train_sft"] == 1
    (results / "training" / "microcosm" / "base.parquet").unlink()
    assert project.pending()["pretrain_model"] == 1


def test_exchanged_models_along_training_are_trained_again_and_a_lost_one_is_told(project):
    one, other = (f"microcosm_off/grpo-train-{part}lr0.0003-seed0" for part in ("", "n2-draw0-"))
    models = project.folder / "results" / "smoke" / "models"

    def exchange():
        (models / one / "step-1").rename(models / "aside")
        (models / other / "step-1").rename(models / one / "step-1")
        (models / "aside").rename(models / other / "step-1")

    exchange()
    assert project.pending()["train_onpolicy"] == 2
    _, output = project.run("selfdistill", "verify", "results/smoke")
    for run in (one, other):
        along = f"evaluations/{run}/along_training.parquet"
        assert f"{along}: made from another version of models/{run}/step-1/manifest.json" in output
    exchange()
    assert project.pending() == {}
    shutil.rmtree(models / one / "step-1")
    assert project.pending() == {}
    project.edit("config/smoke.yaml", "evaluation_samples: 2", "evaluation_samples: 3")
    status, output = project.run("snakemake", "--cores", "2", "--configfile", "config/smoke.yaml")
    assert status == 1 and f"results/smoke/models/{one}/step-1: missing, though it is to be evaluated" in output


def test_results_without_snakemakes_records_are_known_by_ours(project):
    copied_anew(project.folder / "results")
    shutil.rmtree(project.folder / ".snakemake")
    assert project.pending() == {}
    project.edit("workflow/selfdistill/pages/rendering.py", '"truncated": 3', '"truncated": 4')
    assert project.pending() == {"render_table": 6}
    project.edit("config/smoke.yaml", "study: smoke\n", "study: smoke\nseed: 1\n")
    pending = project.pending()
    assert pending["sample_guidance"] == 5 and pending["evaluate_checkpoints"] == 10
    assert not {"pretrain_model", "train_onpolicy"} & pending.keys()  # which have seeds of their own
    assert "--seed=0, now --seed=1" in project.snakemake("--dry-run")


def copied_anew(results):
    """All files as new ones, each newer than those that were made from it; of folders the time stays."""
    files = [path for path in results.rglob("*") if path.is_file() and path.name != ".snakemake_timestamp"]
    for age, path in enumerate(sorted(files, key=lambda path: -path.stat().st_mtime_ns)):
        os.utime(path, (2e9 + age, 2e9 + age))
