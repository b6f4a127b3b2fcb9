"""The registry of figures, figures drawn again from shipped results, and a new one in a copy of the project."""

import json
import re
import subprocess
import sys

import pandas as pd
import project
import pytest
import yaml
from PIL import Image
from project import ROOT, Project
from selfdistill import cli, stages
from selfdistill.artifacts import EXAMPLES, FIGURES, SFT_STEPS, TABLE_EDITED, VIEWED
from selfdistill.code_digest import PACKAGE_ROOT
from selfdistill.config import parse
from selfdistill.errors import UserError
from selfdistill.figures.drawing import KINDS
from selfdistill.records import lineage
from selfdistill.records.bundle import Records
from selfdistill.study import Study

REFERENCE = ROOT / "results" / "reference" / "microcosm"
FROM = ("--from", str(REFERENCE))
NOT_SHIPPED = {name for name, figure in FIGURES.items() if figure.source in (EXAMPLES, SFT_STEPS, TABLE_EDITED)}
SHIPPED = sorted(project.FIGURES.keys() - NOT_SHIPPED)


def test_every_figure_has_one_script_and_every_script_one_line():
    assert {path.stem for path in (PACKAGE_ROOT / "scripts").glob("*.py")} == {f"draw_{name}" for name in FIGURES}
    assert len({figure.title for figure in FIGURES.values()}) == len(FIGURES)


def test_the_registry_imports_nothing_heavy():
    loaded = "import sys, selfdistill.artifacts; print(*{'numpy', 'pandas', 'matplotlib'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", loaded], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


# --- drawn again ---


@pytest.mark.parametrize("figure", SHIPPED)
def test_a_figure_of_shipped_results_shows_the_rows_that_were_shipped(figure, tmp_path):
    stages.draw(figure, from_=REFERENCE, out=tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == (REFERENCE / "figures" / f"{figure}.csv").read_bytes()


def test_the_command_draws_in_every_format_and_says_what_it_was_made_from(tmp_path, capsys):
    for suffix in lineage.FIGURES:
        assert cli.main(["draw", "fig_3", *FROM, "--out", str(tmp_path / f"fig_3{suffix}")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fig_3.pdf", "fig_3.png", "fig_3.svg"]
    made_from = json.loads(Image.open(tmp_path / "fig_3.png").text["Description"])
    assert made_from["study"] == "microcosm" and made_from["rule"] == "draw_fig_3"
    shipped = lineage.read_record(REFERENCE / "figures" / "fig_3.png", Records(REFERENCE))
    assert list(made_from["inputs"].values()) == list(shipped.inputs.values())


@pytest.mark.parametrize("figure", sorted(NOT_SHIPPED))
def test_a_figure_whose_tables_are_not_shipped_says_which(figure, tmp_path):
    with pytest.raises(UserError, match=rf"\({figure}\) cannot be drawn .* not there, the first is .*parquet"):
        stages.draw(figure, from_=REFERENCE, out=tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())


def recorded(folder, **changed: object):
    """Shipped curves with the recorded configuration, of which some keys are changed."""
    values = yaml.safe_load((REFERENCE / "config.yaml").read_text(encoding="utf-8")) | changed
    (folder / "curves.parquet").symlink_to(REFERENCE / "curves.parquet")
    (folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder


def test_keys_of_another_version_do_not_matter_to_a_figure_that_does_not_ask_for_them(tmp_path):
    figures = yaml.safe_load((REFERENCE / "config.yaml").read_text(encoding="utf-8"))["figures"]
    view = figures["views"]["fig_3"]
    del view["top_k"], view["problem_set"]  # as if they were newer than the record
    view["dropped"] = 1
    folder = recorded(tmp_path, sft={"renamed": 1}, selection=None, added=True, figures=figures)
    stages.draw("fig_3", from_=folder, out=tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == (REFERENCE / "figures" / "fig_3.csv").read_bytes()


def test_other_settings_count_in_place_of_the_recorded_ones(tmp_path):
    folder = recorded(tmp_path, figures={"narrow": "narrow", "views": {}})
    with pytest.raises(UserError, match=r"config.yaml does not say what Figure 4 \(fig_4\) shows \('fig_4'\)"):
        stages.draw("fig_4", from_=folder, out=tmp_path / "rows.csv")
    values = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    values["figures"]["views"]["fig_4"]["rates"] = {"grpo": 3e-4, "sdpo": 3e-4}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    stages.draw("fig_4", from_=folder, out=tmp_path / "rows.csv", settings=tmp_path / "other.yaml")
    assert set(pd.read_csv(tmp_path / "rows.csv")["learning_rate"]) == {3e-4}


@pytest.mark.parametrize("figures", [3, {"views": [1]}, {"views": {"fig_3": 1}}])
def test_a_recorded_configuration_whose_figures_are_no_keys_is_named(figures, tmp_path):
    folder = recorded(tmp_path, figures=figures)
    with pytest.raises(UserError, match=r"config\.yaml: expected what each figure shows under 'figures'"):
        stages.draw("fig_3", from_=folder, out=tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fig_33", *FROM, "--out", "x.png"], "unknown figure 'fig_33' (did you mean 'fig_3'?)"),
        (["fig_3", *FROM, "--out", "x.jpeg"], "no figure format '.jpeg'; known: .png, .svg"),
        (["fig_3", "--from", "nowhere", "--out", "x.png"], "nowhere/config.yaml: no such file"),
        (
            ["fig_3", *FROM, "--out", "x.png", "--settings", "no.yaml"],
            "no.yaml: no such file",
        ),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["draw", *arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("selfdistill: ")]
    assert sentence in line
    assert not list(tmp_path.iterdir())


# --- a new figure ---


def test_a_new_figure_is_one_script_and_one_line(tmp_path):
    project = Project.copy_to(tmp_path / "copy")
    project.add_example_figure()
    assert project.pending()["draw_fig_toy"] == 1
    out = tmp_path / "toy.csv"
    arguments = ("fig_toy", *FROM, "--settings", "config.yaml", "--out", str(out))
    status, output = project.run("selfdistill", "draw", *arguments)
    assert status == 0, output
    assert set(pd.read_csv(out)["method"]) == {"grpo", "sdpo"}


def test_figures_travel_with_what_they_are_drawn_from(tmp_path):
    output = Project.copy_to(tmp_path).snakemake("--dry-run")
    groups, several = {}, []
    for block in re.split(r"\n(?=\S*\[)", output):
        found = re.search(r"Group job (\w+) ", block)
        if found:
            jobs = set(re.findall(r"^ +rule (\w+):", block, re.MULTILINE))
            if found[1] == "curves":
                several.append(jobs)
            else:
                groups[found[1]] = jobs
    expected = {"section_3": {"make_table_1"}, "section_4": {"make_table_2"}}
    for name, figure in FIGURES.items():
        if figure.source.group in expected:
            expected[figure.source.group].add(f"draw_{name}")
    assert groups == expected
    assert sorted(map(sorted, several)) == sorted([f"draw_{name}", "make_figure_curves"] for name in VIEWED)


def test_views_and_tables_have_names_that_are_known():
    assert VIEWED == ("fig_1", "fig_3", "fig_4", "fig_5", "fig_6", "fig_7", "fig_8", "fig_d1", "fig_e")
    study = Study(parse(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))))
    assert {name for figure in FIGURES.values() for name in figure.files(study)} == KINDS.keys()
