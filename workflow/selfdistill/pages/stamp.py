"""What sets a study apart from the paper, said alike on every table and figure."""

from selfdistill.trial import SUFFIX

# The one study that runs the paper's models; everything that other studies show is stamped.
PAPER_STUDY = "paper"
MICROCOSM_STUDIES = (
    "microcosm",
    "microcosm_thorough",
    "microcosm_beyond",
    "microcosm_beyond_carrier",
    "microcosm_carrier",
    "smoke",
)


def stamp_text(study: str) -> str:
    """What sets ``study`` apart from the paper, in one line; empty for the paper's own study."""
    if study == PAPER_STUDY:
        return ""
    if study.endswith(SUFFIX):
        return f"{study}: a trial, whose numbers mean nothing"
    if study in MICROCOSM_STUDIES:
        return f"{study} study: tiny models trained from scratch on CPU; not the paper's models"
    return f"{study} study: not the paper's configuration"
