"""Problem sets: the microcosm's, local files and the hub's, all read into the `problems` schema."""

from selfdistill.problems.revisions import is_unknown, lock_revisions, pinned_revision, resolve_revision
from selfdistill.problems.sets import ProblemSet, load_problem_set
from selfdistill.problems.text import bare_problem, normalise, problem_id

__all__ = [
    "ProblemSet",
    "bare_problem",
    "is_unknown",
    "load_problem_set",
    "lock_revisions",
    "normalise",
    "pinned_revision",
    "problem_id",
    "resolve_revision",
]
