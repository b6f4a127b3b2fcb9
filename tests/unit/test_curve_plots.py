"""Figures of on-policy runs draw the rows of the curves table, and say what their bands are."""

import json
import runpy

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from selfdistill import cli, files, tables
from selfdistill.artifacts import VIEWED
from selfdistill.code_digest import PACKAGE_ROOT
from selfdistill.errors import UserError
from selfdistill.figures import curve_plots
from selfdistill.markers.counting import MARKERS

SCRIPTS = PACKAGE_ROOT / "scripts"
TRAINING = ("score", "L", "E_substring")
EVALUATION = ("avg", "E_substring", *(f"substring_{marker}_difference_to_base" for marker in MARKERS))
ARM = {
    "study": "microcosm",
    "family": "m",
    "thinking": "on",
    "method": "grpo",
    "context": "none",
    "teacher_update_rate": None,
    "problem_set": "train",
    "problems": 500,
    "whole_set": True,
    "learning_rate": 3e-4,
    "top_k": None,
}
GUIDED = ARM | {"method": "sdpo", "context": "solution", "teacher_update_rate": 0.0, "top_k": 100}
ARMS = [
    ARM,
    ARM | {"learning_rate": 1e-3},
    *(ARM | {"problems": size, "whole_set": False} for size in (1, 8)),
    ARM | {"problem_set": "narrow"},
    ARM | {"thinking": "off"},
    GUIDED,
    GUIDED | {"learning_rate": 3e-3},
    GUIDED | {"context": "solution_without_thinking"},
    GUIDED | {"teacher_update_rate": 0.05},
    GUIDED | {"top_k": 10},
    *(GUIDED | {"problems": size, "whole_set": False} for size in (1, 8)),
    GUIDED | {"problem_set": "narrow"},
    GUIDED | {"thinking": "off"},
]
VIEW = {
    "families": ["m"],
    "thinking": "on",
    "problem_set": "train",
    "rates": {"grpo": 3e-4, "sdpo": 3e-4},
    "top_k": 100,
    "benchmarks": ["easy", "hard"],
}
NARROW = {"problem_set": "narrow", "benchmarks": ["same"], "context": "solution", "teacher_update_rate": 0.0}
SETTINGS = {figure: {"view": VIEW} for figure in VIEWED} | {
    "fig_1": {"view": VIEW, "narrow": NARROW},
    "fig_4": {"view": VIEW | {"rates": {"grpo": 3e-4, "sdpo": 3e-3}}},
    "fig_5": {"view": VIEW | {"thinking": "off"}},
    "fig_d1": {"view": VIEW | {"thinking": "off"}},
}


# Where responses are read: rollouts on the figure's problem set, else a benchmark.
ROOMS = {
    "fig_1": "training/narrow/m-on",
    "fig_5": "training/train/m-off",
    "fig_8": "evaluation/easy/m-on",
    "fig_d1": "training/train/m-off",
}


def curves(models: int = 1) -> pd.DataFrame:
    rows = []
    for number, arm in enumerate(ARMS):
        benchmarks = ("same",) if arm["problem_set"] == "narrow" else ("easy", "hard")
        points = [("", step, metric) for step in (5, 10) for metric in TRAINING]
        points += [(name, step, metric) for name in benchmarks for step in (0, 15, 30) for metric in EVALUATION]
        for benchmark, step, metric in points:
            value = 50.0 if step == 0 else number + step / 100
            place = {"benchmark": benchmark, "step": step, "metric": metric, "value": value}
            own = {f"m{number}": value + number - (models - 1) / 2 for number in range(models)}
            bounds = {"low": value - 1, "high": value + 2, "plain_low": value - 2, "plain_high": value + 3}
            rows.append({**arm, **place, **bounds, "by_model": json.dumps(own)})
    behind = {"band": "problems" if models == 1 else "base models and problems", "models": models, "runs": models}
    frame = pd.DataFrame(rows).assign(confidence=0.95, samples=64, origin="measured", **behind)
    return frame.astype({"top_k": "Int32", "teacher_update_rate": "float64", "problems": "int32"})


def draw(figure: str, frame: pd.DataFrame):
    return drawn(figure, frame).figure


def drawn(figure: str, frame: pd.DataFrame):
    return runpy.run_path(str(SCRIPTS / f"draw_{figure}.py"))["draw"](frame, **SETTINGS[figure], study="microcosm")


def panel(figure, label: str):
    return next(axes for axes in figure.axes if axes.get_ylabel().replace("\n", " ").startswith(label))


def line(axes, colour: str):
    return next(line for line in axes.lines if line.get_color() == colour and len(line.get_xdata()) > 2)


@pytest.mark.parametrize("figure", VIEWED)
def test_every_figure_is_drawn_and_stamped(figure):
    made = draw(figure, curves())
    made.draw_without_rendering()
    text = made.get_supxlabel()
    assert "not the paper's models" in text
    assert "95 % intervals over problems; this base model only" in text
    assert f"reading_room/index.html#view={ROOMS.get(figure, 'training/train/m-on')}" in text


@pytest.mark.parametrize("figure", VIEWED)
def test_the_rows_beside_a_figure_are_what_its_lines_show(figure):
    made = drawn(figure, curves())
    lines = [line for axes in made.figure.axes for line in axes.lines if len(line.get_xdata()) > 1]
    shown = {round(float(y), 6) for line in lines for y in line.get_ydata()} - {0.0}
    assert shown == {round(value, 6) for value in made.data["value"]}
    assert len(made.data) < len(curves()) and not made.data.duplicated().any()


@pytest.mark.parametrize("figure", VIEWED)
def test_a_script_writes_its_figure_and_says_what_it_was_made_from(figure, tmp_path):
    tables.write(curves(), tmp_path / "curves.parquet", "curves")
    for name in ("one", "two"):
        outputs = [f"--out-{kind}={tmp_path / name / f'{figure}.{kind}'}" for kind in ("png", "pdf", "svg", "csv")]
        about = [f"--settings={json.dumps(SETTINGS[figure])}", "--study=microcosm", "--code=abc"]
        assert cli.main(["draw-figure", figure, f"--curves={tmp_path / 'curves.parquet'}", *about, *outputs]) == 0
    made_from = json.loads(Image.open(tmp_path / "one" / f"{figure}.png").text["Description"])
    assert made_from["rule"] == f"draw_{figure}"
    assert list(made_from["inputs"].values()) == [files.sha256_file(tmp_path / "curves.parquet")]
    one, two = (
        [files.sha256_file(path) for path in sorted((tmp_path / name).glob(f"{figure}.???"))] for name in ("one", "two")
    )
    assert one == two and len(one) == 4


def test_lines_and_bands_are_the_rows_of_the_table():
    figure = draw("fig_3", curves())
    axes = panel(figure, "accuracy on hard")
    found = line(axes, curve_plots.METHODS["sdpo"].colour)
    number = ARMS.index(GUIDED)
    assert found.get_xdata().tolist() == [0, 15, 30]
    assert found.get_ydata().tolist() == pytest.approx([50.0, number + 0.15, number + 0.3])
    bands = [band.get_paths()[0].vertices for band in axes.collections]
    assert any(np.isclose(band[:, 1].max(), 52.0) and np.isclose(band[:, 1].min(), number - 0.85) for band in bands)


def test_the_base_model_is_one_line_across_benchmarks_and_absent_from_training():
    figure = draw("fig_3", curves())
    across = [line for line in panel(figure, "accuracy on easy").lines if list(line.get_ydata()) == [50.0, 50.0]]
    assert len(across) == 1
    assert len(panel(figure, "training score").lines) == 3
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["GRPO", "SDPO (c = s)", "SDPO (c = s without think)", "base model"]
    assert "base model" not in [text.get_text() for text in draw("fig_7", curves()).legends[0].get_texts()]


def test_sizes_are_drawn_from_light_to_dark_and_the_whole_set_is_called_all():
    figure = draw("fig_8", curves())
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["|D| = 1", "|D| = 8", "|D| = all", "base model"]
    colours = [line.get_color() for line in panel(figure, "accuracy on easy").lines if len(line.get_xdata()) > 2]
    assert colours == [curve_plots.SIZES[0], curve_plots.SIZES[2], curve_plots.SIZES[4]]


def test_marker_changes_are_those_of_the_last_checkpoint():
    axes = panel(draw("fig_3", curves()), "change per response")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(MARKERS)
    points = sorted({round(float(y), 6) for line in axes.lines for y in line.get_ydata()} - {0.0})
    shown = [ARM, GUIDED, GUIDED | {"context": "solution_without_thinking"}]
    assert points == pytest.approx(sorted(ARMS.index(arm) + 0.3 for arm in shown))


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (1, "Bands: 95 % intervals over problems; this base model only."),
        (3, "over 3 base models and their problems; provisional: fewer than five base models."),
        (16, "over 16 base models and their problems."),
    ],
)
def test_what_bands_rest_on_is_said_below_the_figure(models, said):
    assert said in draw("fig_6", curves(models)).get_supxlabel()


def test_each_base_model_is_a_thin_line_of_its_own():
    axes = panel(draw("fig_3", curves(models=3)), "training score")
    thick, thin = ([line for line in axes.lines if (line.get_linewidth() > 1) == wide] for wide in (True, False))
    assert len(thin) == 3 * len(thick)
    first = [line for line in thin if line.get_color() == thick[0].get_color()]
    assert sorted(line.get_ydata()[0] - thick[0].get_ydata()[0] for line in first) == pytest.approx([-1, 0, 1])
    alone = panel(draw("fig_3", curves()), "training score")
    assert len(alone.lines) == len(thick)


@pytest.mark.parametrize("figure", VIEWED)
def test_a_view_that_shows_nothing_is_told_in_one_sentence(figure):
    frame = curves().assign(family="other")
    with pytest.raises(UserError, match=r"no on-policy run is what this figure shows \(families \['m'\]"):
        draw(figure, frame)


def test_two_arms_on_one_line_are_refused():
    frame = curves()
    twice = pd.concat([frame, frame.assign(family="n")])
    with pytest.raises(UserError, match="'GRPO' is more than one arm in the panel 'score'"):
        runpy.run_path(str(SCRIPTS / "draw_fig_3.py"))["draw"](twice, VIEW | {"families": ["m", "n"]}, "microcosm")
