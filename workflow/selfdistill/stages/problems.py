"""Loading problem sets."""

from typing import Annotated

from selfdistill.parameters import Out
from selfdistill.problems import ProblemSet
from selfdistill.stages.registry import STEP, stage


@stage(STEP)
def load_problems(
    *,
    problem_set: ProblemSet,
    exactly: Annotated[bool, "Whether the source must hold just as many problems as are kept."] = False,
    out: Out,
) -> None:
    """Load a problem set from the microcosm, a file or the hub."""
    from selfdistill import tables
    from selfdistill.problems import load_problem_set

    tables.write(load_problem_set(problem_set, exactly=exactly), out, tables.PROBLEMS)
