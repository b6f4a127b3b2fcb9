"""Figure 2: which two responses are shown, chosen by a rule and never by hand, and their marked-up text."""

import html
import re
import textwrap
from typing import Literal

import pandas as pd

from selfdistill.errors import UserError, one_of
from selfdistill.markers.counting import MARKERS
from selfdistill.pages import reading_room
from selfdistill.tables import MARKER_COLUMNS

RULE = (
    "Eligible are the problems that the base model solved at least once in a response with a marker and missed "
    "at least once, and that the trained model finished at least once with a wrong answer. Of these, the problem "
    "is shown whose mean number of markers in the base model's responses is the median; on it, the trained "
    "model's finished wrong response (2a) and the base model's finished correct response with markers (2b) whose "
    "number of markers is the median. Medians are lower medians; ties go to the smaller problem id, then to the "
    "smaller sample number. Markers are counted by whole word."
)

Chunk = tuple[str, bool]  # a piece of text, and whether it is a marker

_ALTERNATIVES = "|".join(MARKERS)
_PATTERNS = {"substring": re.compile(_ALTERNATIVES), "word": re.compile(rf"\b(?:{_ALTERNATIVES})\b")}


def choose_examples(base: pd.DataFrame, trained: pd.DataFrame) -> pd.DataFrame:
    """The two responses of Figure 2 by `RULE`, or an empty frame when no problem satisfies it.

    ``base`` and ``trained`` are traces tables over the same problems (unguided responses of the base model;
    responses of the model after SFT on solution-guided ones), with the id of the ``run`` as one more column.
    Returns their rows with the columns ``panel`` ("2a", "2b") and ``E`` (whole-word marker count) added.
    """
    base, trained = _with_count(base), _with_count(trained)
    wrong = trained[_finished(trained) & ~trained["correct"]]
    right = base[_finished(base) & base["correct"] & (base["E"] > 0)]
    solved_and_missed = set(right["problem_id"]) & set(base.loc[~base["correct"], "problem_id"])
    eligible = solved_and_missed & set(wrong["problem_id"])
    if not eligible:
        return base.iloc[:0].assign(panel="")
    mean_count = base[base["problem_id"].isin(eligible)].groupby("problem_id")["E"].mean().reset_index()
    chosen = _lower_median(mean_count, ["E", "problem_id"])["problem_id"].item()
    panels = {"2a": wrong, "2b": right}
    rows = [
        _lower_median(pool[pool["problem_id"] == chosen], ["E", "sample"]).assign(panel=panel)
        for panel, pool in panels.items()
    ]
    return pd.concat(rows, ignore_index=True)


def _with_count(traces: pd.DataFrame) -> pd.DataFrame:
    return traces.assign(E=traces[MARKER_COLUMNS["word"]].sum(axis=1), correct=traces["correct"].astype(bool))


def _finished(traces: pd.DataFrame) -> pd.Series:
    return (traces["finish_reason"] == "stop") & traces["answer"].notna()


def _lower_median(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    ordered = frame.sort_values(keys, kind="stable")
    return ordered.iloc[[(len(ordered) - 1) // 2]]


def highlight(text: str, mode: Literal["substring", "word"] = "word") -> list[Chunk]:
    """``text`` cut into chunks (their concatenation is ``text``), each with whether it is a marker.

    The markers found are those that `counting.count_markers` counts in the same ``mode``.
    """
    pattern = one_of("way of counting", mode, _PATTERNS)
    # Lower-casing can lengthen a text ("İ"), so each lower-cased character remembers where it came from.
    lowered = [(small, place) for place, letter in enumerate(text) for small in letter.lower()]
    chunks, end = [], 0
    for match in pattern.finditer("".join(small for small, _ in lowered)):
        start, stop = lowered[match.start()][1], lowered[match.end() - 1][1] + 1
        chunks += [(text[end:start], False), (text[start:stop], True)]
        end = stop
    return [chunk for chunk in [*chunks, (text[end:], False)] if chunk[0]]


def printable(text: str) -> str:
    """``text`` with tabs and exotic spaces as blanks and every unprintable character as U+FFFD."""
    kept = (" " if letter.isspace() and letter != "\n" else letter for letter in text.expandtabs(4))
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in kept)


def wrap(text: str, width: int, limit: int) -> list[str]:
    """``text`` in lines of at most ``width`` characters; from the middle of more than ``limit``, lines are left out."""
    lines = [part for line in printable(text).splitlines() for part in textwrap.wrap(line, width) or [""]]
    if len(lines) <= limit:
        return lines
    head, tail = (limit - 1) * 2 // 3, (limit - 1) - (limit - 1) * 2 // 3
    left_out = len(lines) - head - tail
    return [*lines[:head], f"[… {left_out} lines left out …]", *lines[-tail:]]


def describe(example: pd.Series, gold: str) -> str:
    """Two lines on a response: where it comes from; its length, markers and answer (``gold`` is the correct one)."""
    verdict = "correct" if example["correct"] else f"wrong; correct: {_short(gold)}"
    counts = f"{example['response_tokens']} tokens · {example['E']} markers"
    which = f"{example['model']}, {example['run']}, {example['setting']}, sample {example['sample']}"
    return printable(f"{which}\n{counts} · answer {_short(example['answer'])} ({verdict})")


def _short(answer: str, letters: int = 24) -> str:
    return answer if len(answer) <= letters else answer[: letters - 1] + "…"


PANEL_TITLES = {
    "2a": "(2a) after SFT on solution-guided responses",
    "2b": "(2b) base model, unguided (c = ∅)",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="{description}">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
.traces {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem; }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; font: 14px/1.6 ui-monospace, monospace;
  border: 1px solid #8886; border-radius: 6px; padding: .75rem 1rem; }}
h1 {{ font-size: 1.25rem; }} h2 {{ font-size: 1rem; margin-bottom: .25rem; }}
.note {{ opacity: .75; font-size: .875rem; white-space: pre-line; }}
mark.marker {{ background: #ffd166; color: #222; border-radius: 3px; padding: 0 .15em; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="note">{stamp}</p>
{body}
<p class="note">How the examples were chosen: {rule}</p>
</body>
</html>
"""


def to_html(examples: pd.DataFrame, problems: pd.DataFrame, *, stamp: str, description: str) -> str:
    """A page of the chosen responses in full, markers in ``<mark class="marker">``, all text escaped.

    ``examples`` comes from `choose_examples`, ``problems`` is a problems table that holds their problem;
    ``stamp`` (which study this is) and ``description`` (see `plotting.record`) are shown and embedded.
    """
    if examples.empty:
        body = "<p>No problem of this run satisfies the rule.</p>"
    else:
        problem = problem_of(examples, problems)
        articles = "\n".join(_article(row, problem["answer"]) for _, row in examples.iterrows())
        question = html.escape(printable(problem["problem"]))
        body = f'<h2>Problem</h2>\n<div class="text">{question}</div>\n<div class="traces">\n{articles}\n</div>'
        body += f'\n<p><a href="{html.escape(_address(examples))}">Both, and the other responses, side by side</a></p>'
    return _PAGE.format(
        title="Figure 2: reasoning with and without epistemic markers",
        body=body,
        rule=html.escape(RULE),
        stamp=html.escape(stamp),
        description=html.escape(description),
    )


def _address(examples: pd.DataFrame) -> str:
    """The reading room, opened at the chosen responses."""
    sources = examples[reading_room.SOURCE].agg("/".join, axis=1)
    samples = ",".join(map(str, examples["sample"]))
    return reading_room.link(columns=",".join(sources), problem=examples["problem_id"].iloc[0], sample=samples)


def problem_of(examples: pd.DataFrame, problems: pd.DataFrame) -> pd.Series:
    """The row of ``problems`` that ``examples`` answer; `UserError` when it is not there."""
    wanted = examples["problem_id"].iloc[0]
    found = problems[problems["problem_id"] == wanted]
    if found.empty:
        raise UserError(f"the problems table has no problem '{wanted}', which the traces answer")
    return found.iloc[0]


def _article(example: pd.Series, gold: str) -> str:
    marked = "".join(
        f'<mark class="marker">{html.escape(chunk)}</mark>' if is_marker else html.escape(chunk)
        for chunk, is_marker in highlight(printable(example["response"]))
    )
    return (
        f"<article>\n<h2>{html.escape(PANEL_TITLES[example['panel']])}</h2>\n"
        f'<p class="note">{html.escape(describe(example, gold))}</p>\n'
        f'<div class="text">{marked}</div>\n</article>'
    )
