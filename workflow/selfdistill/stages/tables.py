"""Tables and curves, from responses alone."""

from pathlib import Path
from typing import Annotated

from selfdistill.analysis.intervals import Bootstrap
from selfdistill.parameters import Out, ProblemTables, ResultsFolder, RunTable, SftRunTable, Summary, Traces, Window
from selfdistill.stages.registry import STEP, stage


@stage(STEP)
def make_table_1(
    *, selection: Traces, traces: Traces, bootstrap: Bootstrap, out: Out, out_a1: Out, out_selection: Out
) -> None:
    """Table 1, the breakdown by marker (A.1.1) and the histogram of solve rates, for every model."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import quoted, responses, summaries

    selected = {found.model: found for found in map(responses.read, selection)}
    settings: dict[str, dict[str, responses.Responses]] = {}
    for found in map(responses.read, traces):
        settings.setdefault(found.model, {})[found.setting] = found
    models = list(settings)
    table_1 = [summaries.table_1(settings[m], selected[m], bootstrap=bootstrap) for m in models]
    table_a1 = [summaries.table_a1(settings[m], bootstrap=bootstrap) for m in models]
    histogram = [summaries.selection_histogram(selected[m], bootstrap=bootstrap) for m in models]
    tables.write(pd.concat([*table_1, quoted.table_1()]), out, "summary")
    tables.write(pd.concat(table_a1), out_a1, "summary")
    tables.write(pd.concat(histogram), out_selection, "summary")


@stage(STEP)
def make_table_2(*, traces: Traces, bootstrap: Bootstrap, out: Out) -> None:
    """Table 2 for every model; runs and benchmarks are read off the paths model/run/benchmark.parquet."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import quoted, responses, summaries

    by_model: dict[str, dict[tuple[str, str], responses.Responses]] = {}
    for path in traces:
        run, model = path.parent.name, path.parent.parent.name
        by_model.setdefault(model, {})[run, path.stem] = responses.read(path)
    measured = [summaries.table_2(evaluations, bootstrap=bootstrap) for evaluations in by_model.values()]
    tables.write(pd.concat([*measured, quoted.table_2()]), out, "summary")


@stage(STEP)
def make_curves(
    *,
    runs: RunTable,
    rollouts: Traces,
    evaluations: Traces,
    bases: Traces,
    window: Window,
    bootstrap: Bootstrap,
    out: Out,
    out_final: Out,
    out_rates: Out,
) -> None:
    """Sections 5 and 6: training and evaluation of all on-policy runs against steps, and what they end at."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import arms, curves, responses

    rows = tables.read(runs, "runs")
    rolled_out, along, before = (responses.read_runs(paths) for paths in (rollouts, evaluations, bases))
    before = responses.same_questions(before, along)
    training = curves.training_curves(rolled_out, rows, window=window, bootstrap=bootstrap)
    evaluation = curves.evaluation_curves(pd.concat([before, along]), rows, bootstrap=bootstrap)
    tables.write(pd.concat([training, evaluation]), out, "curves")
    tables.write(arms.final_table(training, evaluation), out_final, "summary")
    tables.write(arms.rate_table(training), out_rates, "summary")


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
    from selfdistill.analysis import coverage, quoted

    measured = coverage.table_3(
        {path.stem: tables.read(path, "problems") for path in problem_sets},
        pd.concat([tables.read(path, "traces", coverage.DRAW) for path in rollouts]),
        tables.read(runs, "runs"),
        {path.stem: tables.read(path, "problems") for path in benchmarks},
        rollouts_per_prompt=rollouts_per_prompt,
    )
    tables.write(pd.concat([measured, quoted.table_3()]), out, "summary")


@stage(STEP)
def render_table(*, table: Summary, sft_runs: SftRunTable, out_csv: Out, out_markdown: Out, out_latex: Out) -> None:
    """Write a summary as CSV (every number), Markdown and LaTeX (values with intervals)."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.pages import rendering

    summary, runs = tables.read(table, "summary"), tables.read(sft_runs, "sft_runs")
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

    tables.write(gather(results, repetitions), out, "summary")
