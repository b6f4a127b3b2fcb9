"""Only what an edit changes is run again."""

import os
import re
import signal

import pytest
from project import Project
from selfdistill.records import lineage
from selfdistill.records.bundle import Records

from .conftest import PART


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
    assert {name: pending[name] for name in ("train_onpolicy", "evaluate_checkpoints", "list_runs", "make_curves")} == {
        "train_onpolicy": 1,
        "evaluate_checkpoints": 1,
        "list_runs": 1,
        "make_curves": 1,
    }
    assert not {"pretrain_model", "train_sft", "evaluate_model"} & pending.keys()


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
    project.edit("config.yaml", "fig_6: {families: [microcosm], ", "fig_6: {families: [microcosm], top_k: 10, ")
    assert project.pending() == {"draw_fig_6": 1}


def test_a_new_figure_is_the_only_thing_that_is_drawn(project):
    project.add_example_figure()
    assert project.pending() == {"draw_fig_toy": 1}
    project.snakemake("results/smoke/figures/fig_toy.svg")
    results = project.folder / "results" / "smoke"
    record = lineage.read_record(results / "figures" / "fig_toy.csv", Records(results))
    assert record.maker == "draw_fig_toy" and record.parameters["study"] == "smoke"


def test_killed_in_the_middle_on_one_core_it_goes_on_to_the_end_of_an_undisturbed_run_on_two(finished, tmp_path):
    other = Project.copy_to(tmp_path / "other")
    study = ("--cores", "1", "--configfile", "config/smoke.yaml")
    process = other.start("snakemake", *PART, *study, start_new_session=True)
    for line in process.stdout:  # the model exists, and on-policy training has begun
        if re.search("grpo-.*step/s", line):
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.read()
    process.wait()
    status, output = other.run("snakemake", "--unlock", *study)
    assert status == 0, output
    assert "pretrain_model" not in other.pending()
    other.snakemake(*PART, cores=1)
    expected, found = finished.results(), other.results()
    assert len(found) > 50
    assert [name for name in found if expected[name] != found[name]] == []
