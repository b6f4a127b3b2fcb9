"""Tables and curves, from responses alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from selfdistill.parameters import (
    Confidence,
    Models,
    Out,
    ProblemTables,
    ResultsFolder,
    RunRows,
    RunTable,
    SftRunTable,
    StudyName,
    Summary,
    Traces,
    Window,
)
from selfdistill.stages.registry import STEP, stage

if TYPE_CHECKING:
    import pandas as pd

    from selfdistill.analysis.responses import Responses


@stage(STEP)
def make_table_1(
    *,
    selection: Traces,
    traces: Traces,
    models: Models,
    confidence: Confidence,
    out: Out,
    out_a1: Out,
    out_selection: Out,
) -> None:
    """Table 1, the breakdown by marker (A.1.1) and the histogram of solve rates, for every family of models."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import quoted, responses, summaries

    selected = {found.model: found for found in map(responses.read, selection)}
    settings = _by_setting(traces)
    table_1, table_a1, histogram = [], [], []
    for family, members in summaries.families(settings, models).items():
        shown = {"family": family, "confidence": confidence}
        own, draws = ({model: each[model] for model in members} for each in (settings, selected))
        table_1.append(summaries.table_1(own, draws, **shown))
        table_a1.append(summaries.table_a1(own, **shown))
        histogram.append(summaries.selection_histogram(draws, **shown))
    tables.write(pd.concat([*table_1, quoted.table_1()]), out, tables.SUMMARY)
    tables.write(pd.concat(table_a1), out_a1, tables.SUMMARY)
    tables.write(pd.concat(histogram), out_selection, tables.SUMMARY)


@stage(STEP)
def make_table_2(*, traces: Traces, models: Models, confidence: Confidence, out: Out) -> None:
    """Table 2 for every family of models; runs and benchmarks are read off the paths model/run/benchmark.parquet."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import quoted

    tables.write(pd.concat([*_tuned(traces, models, confidence), quoted.table_2()]), out, tables.SUMMARY)


@stage(STEP)
def make_table_edited(*, traces: Traces, models: Models, confidence: Confidence, out: Out) -> None:
    """The same of models that were fine-tuned on edited data sets, of which the paper says nothing."""
    _make_other("table_edited", traces, models, confidence, out)


@stage(STEP)
def make_table_words(*, traces: Traces, models: Models, confidence: Confidence, out: Out) -> None:
    """The same of base models that are kept from words, or held to them, of which the paper says nothing."""
    _make_other("table_words", traces, models, confidence, out)


def _make_other(artifact: str, traces: Traces, models: Models, confidence: Confidence, out: Path) -> None:
    """A table like Table 2, of what the paper has no numbers of."""
    import pandas as pd

    from selfdistill import tables

    tables.write(pd.concat(_tuned(traces, models, confidence)).assign(artifact=artifact), out, tables.SUMMARY)


@stage(STEP)
def make_table_information(
    *,
    information: Annotated[Sequence[Path], "Tables of what contexts tell of responses."],
    traces: Traces,
    models: Models,
    confidence: Confidence,
    out: Out,
) -> None:
    """What each setting's context tells of its responses, beside L, E and score; the paper has no number of it."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import summaries

    told = pd.concat(tables.read(path, tables.INFORMATION) for path in information)
    settings = _by_setting(traces)
    rows = [
        summaries.table_information(
            {model: settings[model] for model in members}, told, family=family, confidence=confidence
        )
        for family, members in summaries.families(settings, models).items()
    ]
    tables.write(pd.concat(rows), out, tables.SUMMARY)


@stage(STEP)
def make_table_alignment(
    *,
    alignment: Annotated[Sequence[Path], "Tables of what steps along gradients do to success."],
    study: StudyName,
    models: Models,
    confidence: Confidence,
    out: Out,
) -> None:
    """What a step along each loss's gradient does to success, by outcome and place; the paper has no number of it."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import summaries
    from selfdistill.analysis.alignment import table_alignment

    rows = pd.concat(tables.read(path, tables.ALIGNMENT) for path in alignment)
    tables.write(
        pd.concat(
            table_alignment(rows[rows["model"].isin(members)], study=study, family=family, confidence=confidence)
            for family, members in summaries.families(rows["model"].unique(), models).items()
        ),
        out,
        tables.SUMMARY,
    )


def _by_setting(traces: Traces) -> "dict[str, dict[str, Responses]]":
    """Section 3's responses, by base model and setting."""
    from selfdistill.analysis import responses

    settings: dict[str, dict[str, responses.Responses]] = {}
    for found in map(responses.read, traces):
        settings.setdefault(found.model, {})[found.setting] = found
    return settings


def _tuned(traces: Traces, models: Models, confidence: float) -> "list[pd.DataFrame]":
    """Fine-tuned models beside their base models, by family."""
    from selfdistill.analysis import responses, summaries

    evaluations: dict[str, dict[tuple[str, str], responses.Responses]] = {}
    for path in traces:
        run, model = path.parent.name, path.parent.parent.name
        evaluations.setdefault(model, {})[run, path.stem] = responses.read(path)
    return [
        summaries.table_2({model: evaluations[model] for model in members}, family=family, confidence=confidence)
        for family, members in summaries.families(evaluations, models).items()
    ]


@stage(STEP)
def make_curves(
    *,
    runs: RunTable,
    rollouts: Traces = (),
    evaluations: Traces,
    bases: Traces,
    window: Window,
    confidence: Confidence,
    out: Out,
    out_final: Out,
    out_rates: Out,
) -> None:
    """Sections 5 and 6: training and evaluation of all on-policy runs against steps, and what they end at."""

    from selfdistill import tables
    from selfdistill.analysis import arms

    training, evaluation = _curves(tables.read(runs, tables.RUNS), rollouts, evaluations, bases, window, confidence)
    tables.write(_joined(training, evaluation), out, tables.CURVES)
    tables.write(arms.final_table(training, evaluation), out_final, tables.SUMMARY)
    tables.write(arms.rate_table(training), out_rates, tables.SUMMARY)


@stage(STEP)
def make_figure_curves(
    *,
    rows: RunRows,
    problem_sets: ProblemTables,
    rollouts: Traces,
    evaluations: Traces,
    bases: Traces,
    window: Window,
    confidence: Confidence,
    out: Out,
) -> None:
    """Sections 5 and 6: the same curves of the on-policy runs that one figure shows."""

    from selfdistill import tables
    from selfdistill.analysis import arms

    runs = arms.run_table(rows, problem_sets)
    tables.write(_joined(*_curves(runs, rollouts, evaluations, bases, window, confidence)), out, tables.CURVES)


def _curves(
    runs: "pd.DataFrame", rollouts: Traces, evaluations: Traces, bases: Traces, window: int, confidence: float
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Curves of training, empty where nothing is trained here, and of evaluation."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import arms, curves, responses

    along, before = (responses.read_runs(paths) for paths in (evaluations, bases))
    before = responses.same_questions(before, along)
    training, trained = pd.DataFrame(columns=tables.CURVES.columns), arms.trained_here(runs)
    if len(trained):
        rolled_out = responses.read_runs(rollouts)
        training = curves.training_curves(rolled_out, trained, window=window, confidence=confidence)
    return training, curves.evaluation_curves(pd.concat([before, along]), runs, confidence=confidence)


def _joined(training: "pd.DataFrame", evaluation: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    return pd.concat([training, evaluation]) if len(training) else evaluation  # an empty one would change types


@stage(STEP)
def make_table_released(*, curves: Annotated[Path, "Table of the curves."], runs: RunTable, out: Out) -> None:
    """Where runs end that were trained elsewhere, beside their base models and what the paper says of them."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import arms, quoted

    measured = arms.ends_table(tables.read(curves, tables.CURVES), tables.read(runs, tables.RUNS))
    tables.write(pd.concat([measured, quoted.released()]), out, tables.SUMMARY)


@stage(STEP)
def make_table_3(
    *,
    runs: RunTable,
    rollouts: Traces,
    problem_sets: ProblemTables,
    benchmarks: ProblemTables,
    rollouts_per_prompt: Annotated[int, "Responses per prompt in training: a group."],
    out: Out,
) -> None:
    """Table 3: what the training sets cover of each other and of the benchmarks."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import arms, coverage, quoted

    measured = coverage.table_3(
        {path.stem: tables.read(path, tables.PROBLEMS) for path in problem_sets},
        pd.concat([tables.read(path, tables.TRACES, coverage.DRAW) for path in rollouts]),
        arms.trained_here(tables.read(runs, tables.RUNS)),
        {path.stem: tables.read(path, tables.PROBLEMS) for path in benchmarks},
        rollouts_per_prompt=rollouts_per_prompt,
    )
    tables.write(pd.concat([measured, quoted.table_3()]), out, tables.SUMMARY)


@stage(STEP)
def render_table(*, table: Summary, sft_runs: SftRunTable, out_csv: Out, out_markdown: Out, out_latex: Out) -> None:
    """Write a summary as CSV (every number), Markdown and LaTeX (values with intervals)."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.pages import rendering

    summary, runs = tables.read(table, tables.SUMMARY), tables.read(sft_runs, tables.SFT_RUNS)
    write_text(out_csv, summary.to_csv(index=False))
    write_text(out_markdown, rendering.markdown(summary, runs))
    write_text(out_latex, rendering.latex(summary, runs))


@stage(STEP)
def gather_spread(
    *, results: ResultsFolder, repetitions: Annotated[list[Path], "Results folders of its repetitions."], out: Out
) -> None:
    """Put the tables of a study's repetitions, which differ from it by their seeds, into one: what compare reads."""
    from selfdistill import tables
    from selfdistill.records.compare import gather

    tables.write(gather(results, repetitions), out, tables.SUMMARY)
