"""Questions of a reader: they print, and write nothing."""

from pathlib import Path


def compare(*, fresh: Path, reference: Path) -> int:
    """Set the tables of one results folder against another's; status 1 when intervals do not overlap."""
    from selfdistill.records.compare import compare_folders

    report, agree = compare_folders(fresh, reference)
    print(report)
    return 0 if agree else 1


def trace(file: Path) -> None:
    """Print the chain from a table or figure down to raw data and seeds."""
    from selfdistill.records.lineage import trace as chain

    print("\n".join(chain(file)))


def verify(results: Path) -> int:
    """Check hashes, schemas, records and ledger of a results tree, computing nothing; status 1 if one is wrong."""
    from selfdistill.records import verification

    problems = verification.verify(results)
    print("\n".join(problems))
    held = ", ".join(f"{number} {what}" for what, number in verification.counts(results).items())
    print(f"{results}: {held}; " + (f"{len(problems)} problems" if problems else "all as recorded"))
    return 1 if problems else 0


def diff(first: Path, second: Path) -> None:
    """Print what differs between two results trees: configuration, responses with paired intervals, verdicts."""
    from selfdistill.analysis.intervals import Bootstrap
    from selfdistill.records import diff as comparison

    print("\n".join(comparison.diff(first, second, bootstrap=Bootstrap())))


def plan(
    *,
    configfile: list[Path] = [],  # noqa: B006 (read only)
    profile: list[Path] = [],  # noqa: B006 (read only)
    price: float | None = None,
    cores: int | None = None,
) -> None:
    """Print what a study costs (``price``: money per GPU-hour), what is missing, and when each result appears."""
    from selfdistill.planning import plan as planning

    print("\n".join(planning.lines(planning.read(configfile, profile, cores, price), price)))


def explain(
    *,
    configfile: list[Path] = [],  # noqa: B006 (read only)
    profile: list[Path] = [],  # noqa: B006 (read only)
    cores: int | None = None,
    target: list[str] = [],  # noqa: B006 (read only)
) -> None:
    """Print why each pending job is run, at which cost, and which tables, figures and claims hang on it."""
    from selfdistill.planning import explain as explaining
    from selfdistill.planning import plan as planning

    print("\n".join(explaining.lines(planning.read(configfile, profile, cores, None), target)))
