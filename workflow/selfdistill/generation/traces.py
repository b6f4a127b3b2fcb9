"""The traces table: every response of a model, graded and with its markers counted."""

import pandas as pd

from selfdistill.errors import one_of
from selfdistill.grading.grader import extract_answer, grade_many, tagged_answer
from selfdistill.markers.counting import count_tables
from selfdistill.tables import TRACES
from selfdistill.verification.measure import measure


def annotate(
    generated: pd.DataFrame,
    problems: pd.DataFrame,
    *,
    study: str,
    model: str,
    run: str,
    stage: str,
    setting: str,
    step: int | None = None,
    opened: bool,
    answer_in: str = "box",
    workers: int = 1,
) -> pd.DataFrame:
    """Sampled responses as rows of the `traces` schema.

    ``generated``: columns of `generation.shards.COLUMNS`; ``problems``: the `problems` schema, with text and gold
    answer of every problem_id. ``opened``: the prompts end inside thinking. ``answer_in``: "box", as asked for by the
    paper's instruction, or "tag" (`tagged_answer`). A response cut at its token limit is graded like any other, and has
    an answer only if a box, or tag, was closed outside the thinking.
    """
    asked = problems.set_index("problem_id").loc[generated["problem_id"]]
    read = one_of("answer_in", answer_in, {"box": extract_answer, "tag": tagged_answer})
    answers = [read(text, opened=opened) for text in generated["response"]]
    pairs = zip(answers, asked["answer"], strict=True)
    accepted, verified = measure(asked["problem"].tolist(), generated["response"], answers)
    labels = {"study": study, "model": model, "run": run, "stage": stage, "setting": setting}
    steps = pd.array([step] * len(generated), dtype="Int32")
    found = {
        "answer": answers,
        "correct": grade_many(pairs, workers=workers),
        "accepted": accepted,
        "verified": verified,
    }
    frame = generated.assign(**labels, step=steps, **found)
    counts = [counts.add_prefix(f"{mode}_") for mode, counts in count_tables(generated["response"]).items()]
    return pd.concat([frame.reset_index(drop=True), *counts], axis=1)[TRACES.columns]
