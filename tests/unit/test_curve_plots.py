"""Figures of on-policy runs draw the rows of the curves table, and say what their bands are."""

import json
import runpy
from functools import cache

import numpy as np
import overlaps
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image
from selfdistill import cli, files, tables
from selfdistill.artifacts import VIEWED
from selfdistill.code_digest import PACKAGE_ROOT
from selfdistill.errors import UserError
from selfdistill.figures import curve_plots, plotting
from selfdistill.markers.counting import MARKERS

SCRIPTS = PACKAGE_ROOT / "scripts"
TRAINING = ("score", "L", "E_substring", "V")
DIFFERENCES = ("avg_difference_to_base", *(f"substring_{marker}_difference_to_base" for marker in MARKERS))
EVALUATION = ("avg", "E_substring", "V", *DIFFERENCES)
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
        points += [(name, 0, metric) for name in benchmarks for metric in ("avg", "E_substring", "V")]
        points += [(name, step, metric) for name in benchmarks for step in (15, 30) for metric in EVALUATION]
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


@cache
def default(figure: str):
    """What is drawn of one base model; not to be changed."""
    return drawn(figure, curves())


def drawn(figure: str, frame: pd.DataFrame):
    return runpy.run_path(str(SCRIPTS / f"draw_{figure}.py"))["draw"](frame, **SETTINGS[figure], study="microcosm")


def title(axes) -> str:
    """A panel's title without its letter."""
    return axes.get_title(loc="left").replace("\n", " ").partition("$  ")[2]


def panel(figure, label: str):
    return next(axes for axes in figure.axes if title(axes) == label or axes.get_ylabel().replace("\n", " ") == label)


def lines(axes) -> list:
    """The lines of curves: not their points, nor those across."""
    return [line for line in axes.lines if line.get_linestyle() != "None" and line.get_linewidth() > 1]


def line(axes, colour: str):
    return next(line for line in lines(axes) if line.get_color() == colour)


def steps(line) -> list[int]:
    """Where a line's points are, but for how far the curve is drawn aside."""
    return [5 * round(place / 5) for place in line.get_xdata()]


def stamp(figure) -> str:
    """What is said below a figure, its lines joined."""
    return " ".join(figure.get_supxlabel().split())


def legend(figure) -> list[str]:
    """The entries of a figure's legend, line by line."""
    (shown,) = figure.legends
    columns = np.array_split([text.get_text() for text in shown.get_texts()], shown._ncols)
    return [str(column[line]) for line in range(len(columns[0])) for column in columns if line < len(column)]


@pytest.mark.parametrize("figure", VIEWED)
def test_no_title_or_label_covers_another(figure):
    assert overlaps.covered(default(figure).figure) == []


@pytest.mark.parametrize("figure", VIEWED)
def test_every_figure_is_drawn_and_stamped(figure):
    made = default(figure).figure
    made.draw_without_rendering()
    text = made.get_supxlabel()
    assert "not the paper's models" in text and text.count("\n") == 1
    assert f"m, thinking {'off' if figure in ('fig_5', 'fig_d1') else 'on'}. Bars: 95 % intervals over problems" in text
    assert "this base model only" in text
    address = made._supxlabel.get_url()
    assert address == f"../reading_room/index.html#view={ROOMS.get(figure, 'training/train/m-on')}"


@pytest.mark.parametrize("figure", VIEWED)
def test_the_rows_beside_a_figure_are_what_its_lines_show(figure):
    made = default(figure)
    drawn_lines = [line for axes in made.figure.axes for line in axes.lines if len(line.get_xdata()) > 1]
    shown = {round(float(y), 6) for line in drawn_lines for y in line.get_ydata()} - {0.0}
    assert shown == {round(value, 6) for value in made.data["value"]}
    assert len(made.data) < len(curves()) and not made.data.duplicated().any()


# Every figure is drawn above; they are written by one function: one with two views, and one with the most panels.
@pytest.mark.parametrize("figure", ["fig_1", "fig_7"])
def test_a_script_writes_its_figure_and_says_what_it_was_made_from(figure, tmp_path):
    tables.write(curves(), tmp_path / "curves.parquet", tables.CURVES)
    for name in ("one", "two"):
        outputs = [
            f"--out-{kind}={tmp_path / name / f'{figure}.{kind}'}" for kind in ("png", "pdf", "svg", "csv", "txt")
        ]
        about = [f"--settings={json.dumps(SETTINGS[figure])}", "--study=microcosm", "--code=abc"]
        assert cli.main(["draw-figure", figure, f"--curves={tmp_path / 'curves.parquet'}", *about, *outputs]) == 0
    made_from = json.loads(Image.open(tmp_path / "one" / f"{figure}.png").text["Description"])
    assert made_from["rule"] == f"draw_{figure}"
    assert list(made_from["inputs"].values()) == [files.sha256_file(tmp_path / "curves.parquet")]
    one, two = (
        [files.sha256_file(path) for path in sorted((tmp_path / name).glob(f"{figure}.???"))] for name in ("one", "two")
    )
    assert one == two and len(one) == 5


def test_lines_and_bars_are_the_rows_of_the_table():
    figure = default("fig_3").figure
    axes = panel(figure, "accuracy on hard (%)")
    found = line(axes, curve_plots.METHODS["sdpo"].colour)
    number = ARMS.index(GUIDED)
    assert steps(found) == [0, 15, 30]
    assert found.get_ydata().tolist() == pytest.approx([50.0, number + 0.15, number + 0.3])
    bars = [bar for bar in axes.collections if isinstance(bar, LineCollection)]
    assert [len(bar.get_segments()) for bar in bars] == [2, 2, 2]  # none of the base model, whose band lies across
    ends = bars[1].get_segments()[0]  # of the last step, which is marked first
    assert ends[:, 1].tolist() == pytest.approx([number - 0.7, number + 2.3])
    assert ends[0, 0] == ends[1, 0] == found.get_xdata()[-1]


def test_no_bar_covers_that_of_another_curve():
    for axes in default("fig_8").figure.axes:
        places = [x for bar in axes.collections if isinstance(bar, LineCollection) for (x, _), _ in bar.get_segments()]
        assert len(set(places)) == len(places)


def test_no_bar_is_drawn_of_what_has_no_interval():
    frame = curves()
    alone = frame["problems"] == 1
    frame.loc[alone, ["low", "high"]] = np.nan
    made = drawn("fig_7", frame)
    bars = [bar for bar in panel(made.figure, "training score").collections if isinstance(bar, LineCollection)]
    assert [len(bar.get_segments()) for bar in bars] == [0, 2, 2]
    assert "a single problem has none" in stamp(made.figure)
    assert "none of a single" not in stamp(draw("fig_3", frame))


def test_the_base_model_is_one_line_across_benchmarks_and_absent_from_training():
    figure = default("fig_3").figure
    across = [line for line in panel(figure, "accuracy on easy (%)").lines if list(line.get_ydata()) == [50.0, 50.0]]
    assert len(across) == 1
    assert len(lines(panel(figure, "training score"))) == 3
    assert legend(figure)[-1] == "base model"
    assert "base model" not in legend(default("fig_7").figure)


LABELS = {
    "fig_1": ["GRPO, rate 3e-4", "SDPO, c = s, rate 3e-4"],
    "fig_3": ["GRPO, rate 3e-4", "SDPO, c = s, rate 3e-4", "SDPO, c = s without think, rate 3e-4"],
    "fig_4": ["GRPO, rate 3e-4", "SDPO, c = s, rate 3e-3"],
    "fig_5": ["GRPO, rate 3e-4", "SDPO, c = s, rate 3e-4"],
    "fig_6": ["SDPO, c = s, fixed teacher, rate 3e-4", "SDPO, c = s, moving teacher (EMA 0.05), rate 3e-4"],
    "fig_7": ["|D| = 1", "|D| = 8", "|D| = all", "GRPO, rate 3e-4", "SDPO, c = s, rate 3e-4"],
    "fig_8": ["|D| = 1", "|D| = 8", "|D| = all", "GRPO, rate 3e-4", "SDPO, c = s, rate 3e-4"],
    "fig_d1": ["GRPO, rate 3e-4", "SDPO, c = s, rate 3e-4"],
    "fig_e": [
        "GRPO, rate 3e-4",
        "GRPO, rate 1e-3",
        "SDPO, c = s, rate 3e-4, top-k 100",
        "SDPO, c = s, rate 3e-3, top-k 100",
        "SDPO, c = s, rate 3e-4, top-k 10",
    ],
}


@pytest.mark.parametrize("figure", VIEWED)
def test_the_legend_says_rate_and_context_of_every_arm(figure):
    assert [label for label in legend(default(figure).figure) if label != "base model"] == LABELS[figure]


def test_a_moving_teacher_is_named_in_figure_1():
    own = NARROW | {"context": "solution_without_thinking", "teacher_update_rate": 0.05}
    arm = GUIDED | {name: own[name] for name in ("problem_set", "context", "teacher_update_rate")}
    frame = curves()
    of_arm = frame[(frame["problem_set"] == "narrow") & (frame["method"] == "sdpo")]
    frame = pd.concat([frame, of_arm.assign(**{name: arm[name] for name in ("context", "teacher_update_rate")})])
    made = runpy.run_path(str(SCRIPTS / "draw_fig_1.py"))["draw"](frame, view=VIEW, narrow=own, study="microcosm")
    assert "SDPO, c = s without think, moving teacher (EMA 0.05), rate 3e-4" in legend(made.figure)


@pytest.mark.parametrize("figure", VIEWED)
def test_no_two_curves_of_a_panel_look_alike_in_grey(figure):
    for axes in default(figure).figure.axes:
        marked = [line for line in axes.lines if line.get_linestyle() == "None"]
        assert len({line.get_marker() for line in marked}) == len(marked) > 1
        dashes = [line._unscaled_dash_pattern for line in lines(axes)]
        assert len(set(map(str, dashes))) == len(dashes)


def test_looks_differ_in_shape_or_dash_and_darken():
    looks = list(plotting.looks_of(map(str, range(35))).values())
    assert len({(look.shape, look.dash) for look in looks}) == len({look.label for look in looks}) == 35
    assert len({look.shape for look in looks[:7]}) == 7
    luminance = [np.dot(to_rgb(look.colour), (0.2126, 0.7152, 0.0722)) for look in looks]
    assert luminance == sorted(luminance, reverse=True) and luminance[0] < 0.7


def test_sizes_are_drawn_from_light_to_dark_and_the_whole_set_is_called_all():
    figure = default("fig_8").figure
    axes = panel(figure, "accuracy on easy (%)")
    looks = plotting.looks_of(["1", "8", "all"])
    assert [line.get_color() for line in lines(axes)] == [look.colour for look in looks.values()]
    assert [text.get_text() for text in axes.texts] == list(looks)


def test_words_at_the_ends_of_curves_stand_apart_in_their_order():
    found = curve_plots._apart([0.5, 0.52, 0.99, 0.1, 0.51], 0.08)
    assert np.argsort(found).tolist() == [3, 0, 4, 1, 2]
    assert np.diff(np.sort(found)).min() >= 0.08 - 1e-12 and found.max() <= 1
    assert found[3] == 0.1


@pytest.mark.parametrize("figure", ["fig_1", "fig_3", "fig_4", "fig_5", "fig_6", "fig_8", "fig_e"])
def test_differences_to_the_base_model_have_panels_of_their_own(figure):
    made = default(figure).figure
    found = [axes for axes in made.axes if title(axes).endswith("difference to base model (points)")]
    wanted = {"fig_1": 2, "fig_e": 3}.get(figure, 2)
    assert len(found) == wanted
    for axes in found:
        assert any(list(line.get_ydata()) == [0, 0] for line in axes.lines)
        assert not any(50.0 in line.get_ydata() for line in axes.lines)


def test_what_the_last_step_gives_is_drawn_against_the_number_of_problems():
    axes = panel(default("fig_8").figure, "hard: difference to base model (points)")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "8", "all"]
    arms = [[arm for arm in ARMS if arm | {"problems": 500, "whole_set": True} == one] for one in (ARM, GUIDED)]
    wanted = [[ARMS.index(arm) + 0.3 for arm in (*own[1:], own[0])] for own in arms]
    assert [list(line.get_ydata()) for line in lines(axes)] == [pytest.approx(values) for values in wanted]


def test_an_ablation_with_one_value_has_no_row():
    frame = curves()
    frame = frame[(frame["method"] != "grpo") | (frame["learning_rate"] == 3e-4)]
    labels = legend(draw("fig_e", frame))
    assert not any(label.startswith("GRPO") for label in labels) and len(labels) == 4
    frame = frame[(frame["learning_rate"] == 3e-4) & ~frame["top_k"].eq(10).fillna(False)]
    assert legend(draw("fig_e", frame))[:2] == ["GRPO, rate 3e-4", "SDPO, c = s, rate 3e-4, top-k 100"]


@pytest.mark.parametrize("figure", VIEWED)
def test_panels_have_letters_and_readable_text_and_legends_stand_outside(figure):
    made = draw(figure, curves(models=16))
    made.draw_without_rendering()
    letters = [axes.get_title(loc="left").partition("  ")[0] for axes in made.axes]
    assert letters == [rf"$\mathbf{{{letter}}}$" for letter in "abcdefghijklmnop"[: len(letters)]]
    texts = [text for text in made.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) >= 7
    assert made.get_figwidth() == plotting.WIDTH == 6.8 and made.get_figheight() <= 9
    assert not any(axes.get_legend() for axes in made.axes) and len(made.legends) == 1
    box = made.legends[0].get_window_extent()
    assert box.x1 <= made.bbox.x1 and all(axes.get_tightbbox().y1 <= box.y0 for axes in made.axes)


def test_axes_end_where_values_must_and_begin_at_zero():
    frame = curves()
    frame.loc[frame["metric"] == "score", "value"] = 0.9
    frame.loc[frame["metric"] == "score", ["low", "high"]] = [-0.4, 1.7]
    axes = panel(draw("fig_3", frame), "training score")
    assert axes.get_ylim() == pytest.approx((-0.04, 1.04))
    low, _ = panel(draw("fig_3", frame), "response length L (tokens)").get_ylim()
    assert -1 < low < 0


def test_of_many_steps_some_have_points_and_the_last_one_always():
    frame = curves()
    score = frame[(frame["metric"] == "score") & (frame["step"] == 5)]
    frame = pd.concat([frame, *(score.assign(step=step) for step in range(11, 111))])
    axes = panel(draw("fig_3", frame), "training score")
    assert {len(line.get_xdata()) for line in lines(axes)} == {102}
    marked = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert all(len(line.get_xdata()) == 8 for line in marked)
    assert [line.get_xdata()[0] for line in marked] == [line.get_xdata()[-1] for line in lines(axes)]


@pytest.mark.parametrize(
    ("figure", "methods"), [("fig_d1", ("grpo",)), *((figure, ("grpo", "sdpo")) for figure in VIEWED)]
)
def test_a_curve_that_has_no_number_of_a_metric_is_left_out_of_its_panels(figure, methods):
    """As V has none where no response was accepted: one of the curves, or all."""
    frame = curves()
    lacking = frame["metric"].str.match("V($|_)") & frame["method"].isin(methods)
    assert lacking.any()
    assert drawn(figure, frame[~lacking]).figure.axes


def test_benchmarks_stand_in_the_order_of_the_configuration_under_plain_names():
    view = VIEW | {"benchmarks": ["hard", "aime24", "own_set"]}
    frame = curves()
    easy = frame[frame["benchmark"] == "easy"]
    frame = pd.concat([frame, easy.assign(benchmark="aime24"), easy.assign(benchmark="own_set")])
    made = runpy.run_path(str(SCRIPTS / "draw_fig_5.py"))["draw"](frame, view, "microcosm").figure
    shown = [title(axes) for axes in made.axes if title(axes).startswith("accuracy")]
    assert shown == [f"accuracy on {name} (%)" for name in ("hard", "AIME24", "own set")]


def test_marker_changes_are_those_of_the_last_checkpoint():
    figure = default("fig_3").figure
    for benchmark in ("easy", "hard"):
        axes = panel(figure, f"{benchmark}: markers per response, difference to base")
        assert [tick.get_text() for tick in axes.get_xticklabels()] == list(MARKERS)
        points = sorted({round(float(y), 6) for line in axes.lines for y in line.get_ydata()} - {0.0})
        shown = [ARM, GUIDED, GUIDED | {"context": "solution_without_thinking"}]
        assert points == pytest.approx(sorted(ARMS.index(arm) + 0.3 for arm in shown))


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (1, "Bars: 95 % intervals over problems; this base model only."),
        (
            3,
            "over 3 base models and their problems; provisional: fewer than five base models; small points: ",
        ),
        (16, "over 16 base models and their problems; small points: base models."),
    ],
)
def test_what_bars_rest_on_is_said_below_the_figure(models, said):
    assert said in stamp(draw("fig_6", curves(models)))


def test_each_base_model_is_a_small_point_of_its_own():
    axes = panel(draw("fig_3", curves(models=3)), "training score")
    small = [line for line in axes.lines if line.get_marker() == "."]
    assert len(small) == 3
    first, mean = small[0], lines(axes)[0]
    assert sorted(first.get_ydata()[:3] - mean.get_ydata()[-1]) == pytest.approx([-1, 0, 1])
    assert set(first.get_xdata()) == set(mean.get_xdata())
    assert not [line for line in panel(default("fig_3").figure, "training score").lines if line.get_marker() == "."]


def test_many_methods_and_contexts_of_a_user_look_differently():
    """In grey as well, where colours do not tell: by marker together with colour."""
    looks = curve_plots.own_looks(20)
    assert looks[:5] == list(curve_plots.OWN_LOOKS)
    assert len({(colour, marker) for colour, marker, _ in looks}) == 20


def test_small_points_are_spoken_of_where_they_are_drawn():
    figure = runpy.run_path(str(SCRIPTS / "draw_arms.py"))["draw"](curves(models=3), study="microcosm").figure
    assert "small points" not in stamp(figure) and "over 3 base models" in stamp(figure)
    assert not [line for axes in figure.axes for line in axes.lines if line.get_marker() == "."]


@pytest.mark.parametrize("figure", VIEWED)
def test_a_view_that_shows_nothing_is_told_in_one_sentence(figure):
    frame = curves().assign(family="other")
    with pytest.raises(UserError, match=r"no on-policy run is what this figure shows \(families \['m'\]"):
        draw(figure, frame)


def test_two_arms_on_one_line_are_refused():
    frame = curves()
    twice = pd.concat([frame, frame.assign(family="n")])
    with pytest.raises(UserError, match="'GRPO, rate 3e-4' is more than one arm in the panel 'score'"):
        runpy.run_path(str(SCRIPTS / "draw_fig_3.py"))["draw"](twice, VIEW | {"families": ["m", "n"]}, "microcosm")
