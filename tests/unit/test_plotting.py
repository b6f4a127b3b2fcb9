import json
import re
import runpy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import overlaps
import pandas as pd
import pytest
from docutils.core import publish_doctree
from jinja2 import Template
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from selfdistill import cli, files, tables
from selfdistill.analysis import quoted as quoted_values
from selfdistill.analysis import responses, summaries
from selfdistill.analysis.words import rate_label
from selfdistill.artifacts import CURVES, FIGURES
from selfdistill.code_digest import PACKAGE_ROOT
from selfdistill.errors import UserError
from selfdistill.figures import captions, examples, plotting
from selfdistill.markers.counting import MARKERS, count_table
from selfdistill.records.bundle import Records

WORKFLOW = PACKAGE_ROOT
STAMP = "tiny models trained from scratch on CPU; not the paper's models"
SETTINGS = list(plotting.SETTINGS)
RUNS = {f"sft-{name}-lr{rate:g}": (name, rate) for name in list(plotting.DATASETS)[1:] for rate in (1e-4, 3e-4)}


NO_MODEL = {"models": np.nan, "by_model": None, "confidence": np.nan}
ONE_MODEL = {"models": 1, "by_model": "{}", "confidence": 0.95}


def summary(*rows: dict) -> pd.DataFrame:
    empty = {"study": "microcosm", "artifact": "a", "model": "m", "row": "", "benchmark": "", "metric": ""}
    bounds = [f"{kind}{side}" for kind in ("", "plain_", "sampling_") for side in ("low", "high")]
    counts = {"problems": 100, "samples": 8, "origin": "measured"}
    return pd.DataFrame([empty | dict.fromkeys(["value", *bounds]) | counts | ONE_MODEL | row for row in rows])


def measured(row: str, metric: str, value: float, **more: object) -> dict:
    return {"row": row, "metric": metric, "value": value, "low": value * 0.9, "high": value * 1.2} | more


def quoted(row: str, metric: str, value: float, **more: object) -> dict:
    return {"row": row, "metric": metric, "value": value, "origin": "quoted", "model": "R1", **NO_MODEL} | more


def table_1() -> pd.DataFrame:
    metrics = ["score", "L", "E_substring", "E_word", "E_per_1000_tokens_substring", "E_per_1000_tokens_word"]
    ours = [
        measured(row, metric, (place + 1) * (number + 2) / 60)
        for number, metric in enumerate(metrics)
        for place, row in enumerate(SETTINGS)
    ]
    theirs = [
        quoted(row, metric, value)
        for row, values in {"unguided": (0.3, 13054, 182.5, 14), "solution": (0.98, 1873, 8.8, 4.7)}.items()
        for metric, value in zip(["score", "L", "E_substring", metrics[4]], values, strict=True)
    ]
    return summary(*ours, *theirs)


def table_a1() -> pd.DataFrame:
    metrics = [f"{counting}_{marker}" for marker in MARKERS for counting in ("substring", "word")]
    return summary(*[measured(row, metric, 0.5) for row in SETTINGS for metric in metrics])


def table_2() -> pd.DataFrame:
    rows = []
    for benchmark in ("easy", "hard"):
        rows.append(measured("base", "avg", 44, benchmark=benchmark))
        rows += [measured(run, "avg", 30 + 3 * n, benchmark=benchmark) for n, run in enumerate(RUNS)]
        rows += [measured(run, "avg_difference_to_base", -5, benchmark=benchmark) for run in RUNS]
    for row, value in {"base": 54.79, "sft-unguided": 51.04, "sft-guided": 20.21}.items():
        rows.append(quoted(row, "avg", value, benchmark="AIME24"))
    rows.append(quoted("sft-guided", "avg_difference_to_base", -34.58, benchmark="AIME24"))
    return summary(*rows)


def selection() -> pd.DataFrame:
    return summary(
        *[
            {"row": str(right), "metric": "problems", "value": count}
            for right, count in enumerate([3, 11, 11, 28, 25, 11, 6, 5, 0])
        ]
    )


def training_steps() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"model": "m", "run": run, "step": step, "metric": metric, "value": step / (number + 1)}
            for number, run in enumerate(RUNS)
            for step in range(1, 6)
            for metric in ("loss", "learning_rate")
        ]
    )


def traces(*responses: tuple[str, bool], model: str) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "study": "microcosm",
            "model": model,
            "run": "base",
            "step": None,
            "stage": "evaluation",
            "setting": "easy",
            "problem_id": "p",
            "sample": range(len(responses)),
            "seed": 0,
            "context_sample": None,
            "prompt_sha256": "",
            "response": [text for text, _ in responses],
            "response_tokens": [len(text.split()) for text, _ in responses],
            "finish_reason": "stop",
            "answer": "17",
            "correct": [correct for _, correct in responses],
            "accepted": True,
            "verified": [correct for _, correct in responses],
        }
    )
    for mode in tables.COUNT_MODES:
        frame[tables.MARKER_COLUMNS[mode]] = count_table(frame["response"], mode).to_numpy()
    return frame


BASE_TRACES = traces(("perhaps x = 3 no . wait x = 17", True), ("x = 2", False), model="m")
TRAINED_TRACES = traces(("x = 2 $ok$ 文", False), model="m").assign(run="sft-guided-lr0.0003")
PROBLEMS = pd.DataFrame(
    [{"problem_id": "p", "position": 0, "problem": "Find x", "answer": "17", "source": "s", "problem_type": "t"}]
)


def drawn(script: str, *tables: pd.DataFrame, study: str = "microcosm", **settings: object) -> plotting.Drawn:
    """What a script draws, without running it as Snakemake would."""
    path = WORKFLOW / "scripts" / f"draw_{script}.py"
    return runpy.run_path(str(path), run_name="imported")["draw"](*tables, study=study, **settings)


BOUNDS = {"low": 0.125, "high": 0.5, "target": 60}
TABLE_2 = {"runs": RUNS, "benchmarks": ["hard", "in_domain", "easy"]}
DRAWINGS = {
    "table_1": lambda study: drawn("table_1", table_1(), study=study),
    "marker_breakdown": lambda study: drawn("marker_breakdown", table_a1(), study=study),
    "table_2": lambda study: drawn("table_2", table_2(), study=study, **TABLE_2),
    "selection": lambda study: drawn("selection", selection(), study=study, **BOUNDS),
    "sft_curves": lambda study: drawn("sft_curves", training_steps(), study=study, runs=RUNS),
    "fig_2": lambda study: drawn("fig_2", BASE_TRACES, TRAINED_TRACES, PROBLEMS, study=study),
}


@cache
def figure_of(script: str, study: str = "microcosm"):
    return DRAWINGS[script](study).figure


def points(axes, *, hollow: bool = False) -> list[tuple[float, float]]:
    """(x, y) of every point drawn on ``axes``."""
    marked = [line for line in axes.lines if line.get_marker() not in ("None", "", None)]
    wanted = [line for line in marked if (line.get_markerfacecolor() == "none") == hollow]
    return [(float(x), float(y)) for line in wanted for x, y in zip(*line.get_data(), strict=True)]


def intervals(axes) -> list[tuple[float, float]]:
    """(low, high) along x of every horizontal line of ``axes``."""
    lines = [line for line in axes.collections if isinstance(line, LineCollection)]
    return [(float(s[0][0]), float(s[1][0])) for line in lines for s in line.get_segments()]


def panel(figure, title: str):
    """The first panel with this title, and a letter before it."""
    return next(axes for axes in panels(figure) if axes.get_title(loc="left").endswith(f"}}$  {title}"))


def panels(figure) -> list:
    return [axes for axes in figure.axes if axes.axison]


# --- shared pieces ---


@pytest.mark.parametrize("along", ["x", "y"])
def test_points_and_intervals_are_those_of_the_table(along):
    axes = plotting.new_figure(2).subplots()
    frame = pd.DataFrame({"value": [1.0, 2, 3], "low": [0.5, np.nan, 2.5], "high": [1.5, np.nan, 4]})
    frame = frame.assign(**ONE_MODEL)
    plotting.draw_points(axes, [0, 1, 2], frame, plotting.SETTINGS["solution"], along=along)
    shown = points(axes) if along == "x" else [(value, place) for place, value in points(axes)]
    assert shown == [(1, 0), (2, 1), (3, 2)]
    ends = [segment[:, 0 if along == "x" else 1].tolist() for segment in axes.collections[0].get_segments()]
    assert ends == [[0.5, 1.5], [2.5, 4.0]]


@pytest.mark.parametrize("along", ["x", "y"])
def test_base_models_are_small_points_beside_their_mean(along):
    axes = plotting.new_figure(2).subplots()
    own = {"models": [2, 1], "by_model": ['{"a": 0.5, "b": 1.5}', '{"a": 2.0}']}
    frame = pd.DataFrame({"value": [1.0, 2.0], "low": [0.5, 1.0], "high": [1.5, 3.0], **own})
    plotting.draw_points(axes, [0, 1], frame, plotting.SETTINGS["solution"], along=along)
    small = [line for line in axes.lines if line.get_marker() == "."]
    values, places = (np.concatenate([line.get_data()[n] for line in small]).tolist() for n in (0, 1))
    assert (values, places) == (([0.5, 1.5], [0, 0]) if along == "x" else ([0, 0], [0.5, 1.5]))


def test_quoted_values_are_hollow_and_have_no_interval():
    axes = plotting.new_figure(2).subplots()
    frame = pd.DataFrame({"value": [1.0], "low": [0.0], "high": [2.0]})
    plotting.draw_points(axes, 0, frame, plotting.SETTINGS["solution"], quoted=True)
    assert points(axes, hollow=True) == [(1, 0)] and not points(axes) and not axes.collections


def test_an_unknown_data_set_is_named_with_the_nearest_spelling():
    with pytest.raises(UserError, match="'unguide' \\(did you mean 'unguided'\\?\\)"):
        plotting.in_order(["unguide", "base"], plotting.DATASETS)


def test_a_context_of_ones_own_stands_below_the_settings_of_the_paper():
    assert plotting.in_order(["hint", "regeneration", "unguided"], plotting.SETTINGS) == [
        "unguided", "regeneration", "hint",
    ]  # fmt: skip
    assert plotting.look("hint", plotting.SETTINGS).label == "c = hint"


def test_no_two_settings_or_data_sets_look_alike():
    for looks in (plotting.SETTINGS, plotting.DATASETS):
        assert (
            len({look.colour for look in looks.values()}) == len(looks) == len({look.label for look in looks.values()})
        )
    assert len({look.shape for look in plotting.DATASETS.values()}) == len(plotting.DATASETS)  # told apart in grey
    assert len({look.shape for look in plotting.COUNTINGS.values()}) == len(plotting.COUNTINGS)


@pytest.mark.parametrize(
    ("row", "dataset", "rate"),
    [
        ("base", "base", None),
        ("sft-guided", "guided", None),  # quoted
        ("sft-guided-lr0.0003", "guided", 3e-4),
        ("any name", "unguided_unfiltered", 1.23456789e-5),
    ],
)
def test_data_set_and_rate_of_a_row_come_from_the_runs(row, dataset, rate):
    runs = {"sft-guided-lr0.0003": ("guided", 3e-4), "any name": ("unguided_unfiltered", 1.23456789e-5)}
    found, found_rate = plotting.what_trained(row, runs)
    assert found == dataset
    assert np.isnan(found_rate) if rate is None else found_rate == rate


def test_an_id_of_no_run_is_refused():
    with pytest.raises(UserError, match="grpo-1"):
        plotting.what_trained("grpo-1", {})


@pytest.mark.parametrize(
    ("rate", "label"),
    [(1e-4, "1e-4"), (3e-4, "3e-4"), (2.5e-5, "2.5e-5"), (1.0, "1e0"), (1.23456789e-4, "1.23456789e-4")],
)
def test_rates_are_short(rate, label):
    assert rate_label(rate) == label


def test_ratios_are_taken_to_the_reference_of_the_same_model_metric_and_origin():
    frame = summary(
        measured("unguided", "L", 50),
        measured("solution", "L", 20),
        measured("unguided", "L", 10, model="other"),
        measured("solution", "L", 20, model="other"),
        quoted("unguided", "L", 13054),
        quoted("solution", "L", 1873),
        measured("solution", "score", 1),  # no unguided score: no ratio
    )
    ratios = plotting.relative_to(frame, "unguided")
    assert ratios["value"].round(4).tolist() == [1, 0.4, 1, 2, 1, 0.1435]
    assert ratios[["low", "high"]].isna().all(axis=None)


def test_a_ratio_to_nothing_is_unknown():
    frame = summary(measured("unguided", "E_word", 0), measured("solution", "E_word", 1))
    assert plotting.relative_to(frame, "unguided")["value"].isna().all()


# --- what every figure must hold ---


@pytest.mark.parametrize("script", DRAWINGS)
def test_figure_is_stamped_and_nothing_leaves_the_page_or_covers_the_stamp(script):
    figure = figure_of(script)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    stamp = next(text for text in figure.texts if STAMP in text.get_text())
    assert stamp.get_text().startswith("microcosm study")
    foot = stamp.get_window_extent(renderer).y1
    legends = [legend for part in [figure, *figure.subfigs] for legend in part.legends]
    for artist in [*figure.findobj(lambda a: hasattr(a, "get_title") and hasattr(a, "lines")), *legends]:
        box = artist.get_tightbbox(renderer)
        if script != "fig_2":  # whose one pair of axes spans the page; its texts are looked at below
            assert box.y0 >= foot - 1
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
    others = [
        text for text in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if text.get_text() and text.get_visible()
    ]
    assert all(text is stamp or text.get_window_extent(renderer).y0 >= foot - 1 for text in others)


@pytest.mark.parametrize("script", DRAWINGS)
def test_text_is_readable_at_the_page_s_width_and_says_no_path(script):
    figure = figure_of(script)
    assert overlaps.covered(figure) == []
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) >= 7
    assert figure.get_figwidth() == plotting.WIDTH == 6.8
    assert not any("reading_room" in text.get_text() for text in texts)


def test_panels_have_one_letter_each_also_where_there_are_several_models():
    both = pd.concat([table_1(), table_1().query("origin == 'measured'").assign(model="m2")])
    letters = [axes.get_title(loc="left").partition("  ")[0] for axes in panels(drawn("table_1", both).figure)]
    assert letters == [rf"$\mathbf{{{letter}}}$" for letter in "abcdefghijklmnop"]
    axes = list(plotting.new_figure(2).subplots(4, 8).flat)
    plotting.letter_panels(axes)
    assert [panel.get_title(loc="left") for panel in axes][25:28] == [
        rf"$\mathbf{{{two}}}$  " for two in ("z", "aa", "ab")
    ]


def test_labels_that_cover_one_another_are_found():
    plotting.use_style()
    figure = plotting.new_figure(2)
    left, right = figure.subplots(1, 2)
    left.set(xlabel="a label that is wider than its panel " * 5)
    right.set(xlabel="another")
    assert [other for _, other in overlaps.covered(figure)] == ["another"]


def test_a_legend_takes_as_many_lines_as_fit_the_page():
    figure = plotting.new_figure(2)
    looks = [plotting.Look(f"a rather long name of an arm, number {number}") for number in range(5)]
    plotting.draw_legend(figure, [plotting.line_entry(look) for look in looks])
    (legend,) = figure.legends
    assert legend._ncols == 2 and legend.get_window_extent().width <= figure.bbox.width
    figure.canvas.draw()
    places = [text.get_window_extent() for text in legend.get_texts()]
    read = sorted(zip(places, legend.get_texts(), strict=True), key=lambda each: (-round(each[0].y0), each[0].x0))
    assert [text.get_text()[-1] for _, text in read] == list("01234")  # line by line, as one reads


@pytest.mark.parametrize("script", ["selection", "fig_2"])
def test_the_papers_own_study_bears_no_stamp(script):
    assert not any("study" in text.get_text() for text in figure_of(script, study="paper").texts)


def test_a_study_of_ones_own_is_not_called_a_microcosm():
    assert plotting.stamp_text("my-model") == "my-model study: not the paper's configuration"


# --- the figures ---


def test_table_1_draws_every_value_and_interval():
    frame, figure = table_1(), figure_of("table_1")
    ours = frame[frame["origin"] == "measured"]
    for title, metrics in {"length L": ["L"], "markers E": ["E_substring", "E_word"], "score": ["score"]}.items():
        rows = ours[ours["metric"].isin(metrics)]
        axes = panel(figure, title)
        assert sorted(x for x, _ in points(axes)) == sorted(rows["value"])
        assert sorted(intervals(axes)) == sorted(zip(rows["low"], rows["high"], strict=True))


def test_table_1_compares_with_the_paper_on_comparable_scales_only():
    figure = figure_of("table_1")
    assert sorted(x for x, _ in points(panel(figure, "score"), hollow=True)) == [0.3, 0.98]
    assert not points(panel(figure, "length L"), hollow=True)
    ratios = [axes for axes in figure.findobj(lambda a: hasattr(a, "get_xlabel")) if "ratio" in axes.get_xlabel()]
    assert [sorted(round(x, 3) for x, _ in points(axes, hollow=True)) for axes in ratios] == [
        [round(1873 / 13054, 3), 1],
        [round(8.8 / 182.5, 3), 1],
        [round(4.7 / 14, 3), 1],
    ]


def test_table_1_draws_measured_ratios_with_the_intervals_of_the_table():
    ratios = [
        measured(row, metric, 0.1 * (place + number + 1))
        for number, metric in enumerate(summaries.RATIOS)
        for place, row in enumerate(SETTINGS)
    ]
    rows = pd.DataFrame(ratios)
    figure = drawn("table_1", pd.concat([table_1(), summary(*ratios)])).figure
    below = [axes for axes in figure.findobj(lambda a: hasattr(a, "get_xlabel")) if "ratio" in axes.get_xlabel()]
    for axes, beginning in zip(below, ["L_ratio", r"E_(?:sub|word)", "E_per"], strict=True):
        shown = rows[rows["metric"].str.match(beginning)]
        assert sorted(x for x, _ in points(axes)) == sorted(shown["value"])
        assert sorted(intervals(axes)) == sorted(zip(shown["low"], shown["high"], strict=True))
        assert len(points(axes, hollow=True)) == 2


def test_table_1_has_a_block_for_each_model():
    both = pd.concat([table_1(), table_1().query("origin == 'measured'").assign(model="m2")])
    figure = drawn("table_1", both).figure
    assert [block.get_suptitle() for block in figure.subfigs] == ["m", "m2"]


def test_marker_breakdown_has_a_panel_for_each_marker():
    figure = figure_of("marker_breakdown")
    for marker in MARKERS:
        assert len(points(panel(figure, marker))) == len(intervals(panel(figure, marker))) == 2 * len(SETTINGS)


def test_table_2_shows_the_benchmarks_in_the_order_of_the_study_under_plain_names():
    renamed = table_2().replace({"benchmark": {"easy": "in_domain"}})
    figure = drawn("table_2", renamed, **TABLE_2).figure
    titles = [axes.get_title(loc="left").partition("$  ")[2] for axes in panels(figure)]
    assert titles == ["hard", "in domain", "paper (quoted)", "", "", ""]
    ticks = [tick.get_text() for tick in panels(figure)[-1].get_xticklabels()]
    assert ticks == ["AIME24"]


def test_table_2_draws_runs_base_and_quoted_values():
    figure = figure_of("table_2")
    for benchmark in ("easy", "hard"):
        axes = panel(figure, benchmark)
        assert sorted(y for _, y in points(axes)) == [30, 33, 36, 39, 42, 45]
        assert [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "None"] == [44]
    assert sorted(y for _, y in points(panel(figure, "paper (quoted)"), hollow=True)) == [20.21, 51.04, 54.79]


def test_selection_shades_the_band_and_counts_what_is_in_it():
    figure = figure_of("selection")
    (axes,) = figure.subfigs[0].axes
    assert sorted(bar.get_height() for bars in axes.containers for bar in bars) == [0, 3, 5, 6, 11, 11, 11, 25, 28]
    kept = {
        round(bar.get_x() + bar.get_width() / 2)
        for bars in axes.containers
        for bar in bars
        if bar.get_facecolor()[0] < 0.1
    }
    assert kept == {1, 2, 3, 4}
    wanted = "75 of 100 problems have a solve rate from 0.125 to 0.5; the first 60 of them are used"
    assert axes.get_title(loc="left") == wanted


def sft_curves_of(models: int) -> Figure:
    steps = [training_steps().assign(model=f"m{number}", value=float(number)) for number in range(models)]
    return drawn("sft_curves", pd.concat(steps), runs=RUNS).figure


def test_sft_curves_keep_few_models_apart():
    figure = sft_curves_of(3)
    assert [len(axes.lines) for axes in figure.axes] == [3] * len(RUNS)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {f"m{number}" for number in range(3)}
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in figure.axes[0].lines}) == 3
    assert not figure_of("sft_curves").legends


def test_sft_curves_of_many_models_show_their_mean():
    figure = sft_curves_of(16)
    for axes in figure.axes:
        *each, mean = axes.lines
        assert sorted(line.get_ydata()[0] for line in each) == list(range(16))
        assert list(mean.get_ydata()) == [7.5] * 5 and mean.get_linewidth() > 2 * each[0].get_linewidth()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mean of the base models (thin lines)"]


def test_a_long_note_below_a_figure_stays_on_the_page():
    figure = plotting.new_figure(height=2)
    figure.subplots()
    plotting.stamp(figure, "microcosm", "Bars: intervals over 4 to 8 base models and their problems; " * 4)
    FigureCanvasAgg(figure).draw()
    (note,) = (text for text in figure.texts if "Bars" in text.get_text())
    assert note.get_window_extent().x1 <= figure.bbox.x1


def test_sft_curves_draw_one_line_per_run():
    figure = figure_of("sft_curves")
    lines = [line.get_ydata().tolist() for axes in figure.axes for line in axes.lines]
    assert sorted(lines) == sorted([step / (number + 1) for step in range(1, 6)] for number in range(len(RUNS)))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.rpartition(", ")[2] for title in titles] == ["rate 1e-4", "rate 3e-4"] * 3


def test_fig_2_highlights_the_markers_and_shows_text_as_it_is():
    figure = figure_of("fig_2")
    texts = figure.axes[0].texts
    assert [t.get_text() for t in texts if t.get_bbox_patch() is not None] == ["perhaps", "wait"]
    assert "x = 2 $ok$ □" in [t.get_text() for t in texts]  # no mathematics, no missing glyph
    assert not any(t.get_parse_math() for t in texts if "$" in t.get_text())


def test_fig_2_says_when_no_problem_satisfies_the_rule():
    figure = drawn("fig_2", BASE_TRACES.iloc[:0], TRAINED_TRACES, PROBLEMS).figure
    assert "No problem of this run satisfies the rule" in figure.axes[0].texts[0].get_text()


def test_figures_draw_what_the_tables_hold():
    """The metrics and rows that the scripts look for are those that `summaries` writes."""
    reduced = responses.reduce([BASE_TRACES], "made up")
    settings = {name: responses.reduce([BASE_TRACES.assign(setting=name)], "made up") for name in SETTINGS[1:]}
    shown = {"family": "m", "confidence": 0.95}
    table_1 = summaries.table_1({"m": settings}, {"m": reduced}, **shown)
    table = pd.concat([table_1, quoted_values.table_1()])
    figure = drawn("table_1", table).figure
    assert len(points(panel(figure, "density E / L"))) == 2 * len(SETTINGS)
    assert len(points(panel(figure, "score"), hollow=True)) == len(quoted_values.TABLE_1)
    breakdown = drawn("marker_breakdown", summaries.table_a1({"m": settings}, **shown)).figure
    assert len(points(panel(breakdown, "wait"))) == 2 * len(settings)
    runs = {(run, "easy"): reduced for run in ("base", *RUNS)}
    table = pd.concat([summaries.table_2({"m": runs}, **shown), quoted_values.table_2()])
    accuracy = drawn("table_2", table, **TABLE_2).figure
    assert len(points(panel(accuracy, "easy"))) == len(RUNS)
    assert len(points(panel(accuracy, "paper (quoted)"), hollow=True)) == 3 * 4
    histogram = drawn("selection", summaries.selection_histogram({"m": reduced}, **shown), **BOUNDS).figure
    assert histogram.subfigs[0].axes[0].get_title(loc="left").startswith("1 of 1 problems")


# --- files ---


def description_in(path: Path) -> str:
    if path.suffix == ".png":
        return Image.open(path).text["Description"]
    if path.suffix == ".svg":
        return ElementTree.parse(path).find(".//{http://purl.org/dc/elements/1.1/}description").text
    subject = re.search(rb"/Subject \((.*?)(?<!\\)\)", path.read_bytes(), re.DOTALL)[1]
    return re.sub(rb"\\([()\\])", rb"\1", subject).decode("ascii")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_equal_figures_give_equal_bytes_and_say_where_they_come_from(tmp_path, suffix):
    source = tmp_path / "täble (1).parquet"
    source.write_bytes(b"rows")
    description = plotting.record(study="microcosm", rule="draw_sft_curves", code="abc", inputs=[source])
    first, second = tmp_path / f"a/curves.{suffix}", tmp_path / f"b/curves.{suffix}"
    for path in (first, second):
        figure = drawn("sft_curves", training_steps(), runs=RUNS).figure
        plotting.save(figure, [path], description, training_steps())
    assert first.read_bytes() == second.read_bytes()
    assert not re.search(rb"CreationDate|dc:date|tIME|Software", first.read_bytes())
    assert json.loads(description_in(first)) == {
        "study": "microcosm",
        "rule": "draw_sft_curves",
        "code": "abc",
        "inputs": {str(source): files.sha256_file(source)},
    }
    assert list(first.parent.iterdir()) == [first]


def test_unknown_format_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"no figure format '\.jpeg'; known: \.png, \.svg, \.pdf"):
        plotting.save(plotting.new_figure(1), [tmp_path / "f.jpeg"], "{}", training_steps())
    assert not list(tmp_path.iterdir())


def run_as_a_job(figure: str, inputs: dict, folder: Path, settings: dict) -> dict[str, Path]:
    kinds = ["png", "pdf", "svg", "csv", "txt", *(["html"] if figure == "fig_2" else [])]
    outputs = {kind: folder / f"{figure}.{kind}" for kind in kinds}
    flags = [f"--{name}={path}" for name, path in inputs.items() if name != "steps"]
    flags += [word for name, path in inputs.items() if name == "steps" for word in ("--steps", str(path))]
    flags += [f"--out-{kind}={path}" for kind, path in outputs.items()]
    about = [f"--settings={json.dumps(settings)}", "--study=microcosm", "--code=abc"]
    assert cli.main(["draw-figure", figure, *flags, *about]) == 0
    return outputs


@pytest.mark.parametrize(
    ("script", "inputs", "settings"),
    [
        ("table_1", {"table": (table_1, "summary")}, {}),
        ("marker_breakdown", {"table": (table_a1, "summary")}, {}),
        ("table_2", {"table": (table_2, "summary")}, TABLE_2),
        ("selection", {"table": (selection, "summary")}, BOUNDS),
        ("sft_curves", {"steps": (training_steps, "training_steps")}, {"runs": RUNS}),
        (
            "fig_2",
            {
                "base": (lambda: BASE_TRACES, "traces"),
                "trained": (lambda: TRAINED_TRACES, "traces"),
                "problems": (lambda: PROBLEMS, "problems"),
            },
            {},
        ),
    ],
)
def test_script_reads_its_tables_and_records_them(tmp_path, script, inputs, settings):
    paths = {name: tmp_path / f"{name}.parquet" for name in inputs}
    for name, (frame, schema) in inputs.items():
        tables.write(frame(), paths[name], tables.KINDS[schema])
    outputs = run_as_a_job(script, paths, tmp_path, settings)
    made_from = json.loads(description_in(outputs["png"]))
    assert made_from["rule"] == f"draw_{script}"
    assert made_from["inputs"] == {str(path): files.sha256_file(path) for path in paths.values()}
    records = Records(tmp_path)
    assert {records.of(path).sha256 for path in outputs.values()} == set(map(files.sha256_file, outputs.values()))
    assert outputs["txt"].read_text(encoding="utf-8") == captions.text(script)
    if script == "fig_2":
        page = outputs["html"].read_text(encoding="utf-8")
        assert page.count('<mark class="marker">') == 2 and STAMP in page.replace("&#x27;", "'")
        assert "m, base, easy, sample 0" in page and "m, sft-guided-lr0.0003, easy, sample 0" in page


# --- captions ---

CAPTIONS = [
    (path.stem, "") for path in sorted((WORKFLOW / "report").glob("*.rst")) if path.stem not in ("figure", "curves")
]
CAPTIONS += [("figure", name) for name in FIGURES]


def caption(template: str, figure: str, folder: Path) -> str:
    """A caption as the report shows it, in the project's folder."""
    (folder / "workflow").symlink_to(WORKFLOW)
    files.write_text(folder / "results/tiny/claims/front.html", "<p>the ledger</p>")
    inputs = {"curves": "results/tiny/curves.parquet"} if figure and FIGURES[figure].source is CURVES else {}
    wildcards = SimpleNamespace(table="table_2")
    job = SimpleNamespace(config={"study": "tiny"}, wildcards=wildcards, rule=f"draw_{figure}", input=inputs)
    text = Template((WORKFLOW / "report" / f"{template}.rst").read_text(encoding="utf-8")).render(snakemake=job)
    return publish_doctree(text, settings_overrides={"halt_level": 2, "report_level": 5}).astext()


@pytest.mark.parametrize("figure", FIGURES)
def test_the_text_beside_a_figure_is_the_caption_of_the_report(figure, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert captions.text(figure).strip() == caption("figure", figure, tmp_path).strip()
    assert "**" not in captions.text(figure) and "\\|" not in captions.text(figure)


@pytest.mark.parametrize(("template", "figure"), CAPTIONS)
def test_caption_is_well_formed(template, figure, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = caption(template, figure, tmp_path)
    assert ("the ledger" in text) == (template == "workflow")
    if figure:
        assert "What the authors did differently" in text and "import" not in text
        assert ("Bars are intervals" in text) == (FIGURES[figure].source is CURVES)


def test_the_caption_of_fig_2_states_the_rule_that_the_code_follows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert examples.RULE in " ".join(caption("figure", "fig_2", tmp_path).split())
