"""Tables and curves, from responses alone."""

from pathlib import Path


def make_table_1(
    *,
    selection: list[Path],
    traces: list[Path],
    confidence: float,
    resamples: int,
    seed: int,
    out: Path,
    out_a1: Path,
    out_selection: Path,
) -> None:
    """Table 1, the breakdown by marker (A.1.1) and the histogram of solve rates, for every model."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import quoted, responses, summaries
    from selfdistill.analysis.intervals import Bootstrap

    bootstrap = Bootstrap(confidence, resamples, seed)
    draws = {drawn.model: drawn for drawn in map(responses.read, selection)}
    settings: dict[str, dict[str, responses.Responses]] = {}
    for found in map(responses.read, traces):
        settings.setdefault(found.model, {})[found.setting] = found
    models = list(settings)
    table_1 = [summaries.table_1(settings[m], draws[m], bootstrap=bootstrap) for m in models]
    table_a1 = [summaries.table_a1(settings[m], bootstrap=bootstrap) for m in models]
    histogram = [summaries.selection_histogram(draws[m], bootstrap=bootstrap) for m in models]
    tables.write(pd.concat([*table_1, quoted.table_1()]), out, "summary")
    tables.write(pd.concat(table_a1), out_a1, "summary")
    tables.write(pd.concat(histogram), out_selection, "summary")


def make_table_2(*, traces: list[Path], confidence: float, resamples: int, seed: int, out: Path) -> None:
    """Table 2 for every model; runs and benchmarks are read off the paths model/run/benchmark.parquet."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import quoted, responses, summaries
    from selfdistill.analysis.intervals import Bootstrap

    bootstrap = Bootstrap(confidence, resamples, seed)
    by_model: dict[str, dict[tuple[str, str], responses.Responses]] = {}
    for path in traces:
        run, model = path.parent.name, path.parent.parent.name
        by_model.setdefault(model, {})[run, path.stem] = responses.read(path)
    measured = [summaries.table_2(evaluations, bootstrap=bootstrap) for evaluations in by_model.values()]
    tables.write(pd.concat([*measured, quoted.table_2()]), out, "summary")


def make_curves(
    *,
    runs: Path,
    rollouts: list[Path],
    evaluations: list[Path],
    bases: list[Path],
    window: int,
    confidence: float,
    resamples: int,
    seed: int,
    out: Path,
    out_final: Path,
    out_rates: Path,
) -> None:
    """Sections 5 and 6: training and evaluation of all on-policy runs against steps, and what they end at."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import arms, curves, responses
    from selfdistill.analysis.intervals import Bootstrap

    bootstrap = Bootstrap(confidence, resamples, seed)
    rows = tables.read(runs, "runs")
    drawn, along, before = (responses.read_runs(paths) for paths in (rollouts, evaluations, bases))
    before = responses.same_questions(before, along)
    training = curves.training_curves(drawn, rows, window=window, bootstrap=bootstrap)
    evaluation = curves.evaluation_curves(pd.concat([before, along]), rows, bootstrap=bootstrap)
    tables.write(pd.concat([training, evaluation]), out, "curves")
    tables.write(arms.final_table(training, evaluation), out_final, "summary")
    tables.write(arms.rate_table(training), out_rates, "summary")


def make_table_3(
    *,
    runs: Path,
    rollouts: list[Path],
    problem_sets: list[Path],
    benchmarks: list[Path],
    rollouts_per_prompt: int,
    out: Path,
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


def render_table(*, table: Path, out_csv: Path, out_markdown: Path, out_latex: Path) -> None:
    """Write a summary as CSV (every number), Markdown and LaTeX (values with intervals)."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.pages import rendering

    summary = tables.read(table, "summary")
    write_text(out_csv, summary.to_csv(index=False))
    write_text(out_markdown, rendering.markdown(summary))
    write_text(out_latex, rendering.latex(summary))
