"""Loading problem sets."""

from pathlib import Path


def load_problems(
    *,
    source: str,
    split: str = "train",
    size: int | None = None,
    file: Path | None = None,
    repo: str | None = None,
    name: str | None = None,
    revision: str | None = None,
    problem_column: str | None = None,
    answer_column: str | None = None,
    out: Path,
) -> None:
    """Load a problem set from the microcosm, a file or the hub."""
    from selfdistill import tables
    from selfdistill.problems import load_problem_set

    problems = load_problem_set(
        source,
        split=split,
        size=size,
        file=file,
        repo=repo,
        name=name,
        revision=revision,
        problem_column=problem_column,
        answer_column=answer_column,
    )
    tables.write(problems, out, "problems")
