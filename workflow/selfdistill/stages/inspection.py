"""Questions of a reader: they print, and write nothing but a figure that was asked for."""

from pathlib import Path
from typing import Annotated

from selfdistill.parameters import ConfigFiles, Cores, Profiles, ResultsFolder, Targets, Workers
from selfdistill.stages.registry import QUESTION, stage


@stage(QUESTION)
def compare(*, fresh: ResultsFolder, reference: ResultsFolder) -> int:
    """Whether one results folder reproduces another: equal tables, or as far away as another base model's; else 1."""
    from selfdistill.records.compare import compare_folders

    report, reproduced = compare_folders(fresh, reference)
    print(report)
    return 0 if reproduced else 1


@stage(QUESTION)
def trace(file: Annotated[Path, "A table or figure."]) -> None:
    """Print the chain from a table or figure down to raw data and seeds."""
    from selfdistill.records.lineage import trace as chain

    print("\n".join(chain(file)))


@stage(QUESTION)
def verify(results: ResultsFolder) -> int:
    """Check all bytes of a results tree, records, models and ledger, computing nothing; status 1 if one is wrong."""
    from selfdistill.records import arithmetic, verification

    problems = verification.verify(results)
    for problem in problems:
        print(problem)
    if (mixed := arithmetic.mixed(results)) is not None:
        print(mixed)
    held = ", ".join(f"{number} {what}" for what, number in verification.counts(results).items())
    print(f"{results}: {held}; " + (f"{len(problems)} problems" if problems else "all as recorded"))
    return 1 if problems else 0


@stage(QUESTION)
def fingerprint(
    *, workers: Workers = 1, write: Annotated[Path | None, "Where the digests go, as those that are shipped."] = None
) -> int:
    """Compute a little of everything, and print its digests beside the shipped ones; status 1 when they differ."""
    from selfdistill.errors import UserError
    from selfdistill.records import fingerprint as computing

    if workers < 1:
        raise UserError(f"--workers: {workers}; it must be 1 or more")
    found = computing.parts(workers)
    if write:
        computing.write(found, write)
    wanted = computing.shipped()
    print("\n".join(computing.report(found, wanted)))
    return 0 if found == wanted else 1


@stage(QUESTION)
def diff(first: ResultsFolder, second: ResultsFolder) -> None:
    """Print what differs between two results trees: configuration, responses with paired intervals, verdicts."""
    from selfdistill.records import diff as comparison

    print("\n".join(comparison.diff(first, second)))


@stage(QUESTION)
def draw(
    figure: Annotated[str, "Name of the figure's files, such as fig_3."],
    *,
    from_: ResultsFolder,
    out: Annotated[Path, "Where the figure goes; .png, .svg, .pdf, .csv (rows that it shows) or .txt (its caption)."],
    settings: Annotated[Path | None, "A configuration that counts in place of the recorded one."] = None,
) -> None:
    """Draw a figure again from a finished or shipped results folder, in seconds."""
    from selfdistill.figures.redraw import redraw

    redraw(figure, from_, out, settings)


@stage(QUESTION)
def plan(
    *,
    configfile: ConfigFiles = (),
    profile: Profiles = (),
    price: Annotated[float | None, "Money per GPU-hour."] = None,
    cores: Cores = None,
    target: Targets = (),
) -> None:
    """Print what a study costs, what is missing, what each result costs alone, and when it appears."""
    from selfdistill.planning import plan as planning

    print("\n".join(planning.lines(planning.read(configfile, profile, cores, price).only(target), price)))


@stage(QUESTION)
def explain(
    *,
    configfile: ConfigFiles = (),
    profile: Profiles = (),
    cores: Cores = None,
    target: Targets = (),
) -> None:
    """Print why each pending job is run, at which cost, and which tables, figures and claims hang on it."""
    from selfdistill.planning import explain as explaining
    from selfdistill.planning import plan as planning

    print("\n".join(explaining.lines(planning.read(configfile, profile, cores, None), target)))
