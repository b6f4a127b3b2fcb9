"""The columns of a problem, its answer and its type, in the layouts of the math data sets on the hub and in verl.

A value is named by a path such as ``reward_model.ground_truth``; each part may be a column, a struct or a JSON
string that holds an object.
"""

import json
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from numbers import Number
from string import ascii_uppercase
from typing import Any

from selfdistill.errors import UserError, nearest
from selfdistill.grading.grader import extract_answer
from selfdistill.problems.text import bare_problem
from selfdistill.problems.values import number_text, read_json, shown
from selfdistill.tables import UNKNOWN_TYPE
from selfdistill.written import lost_backslash

PROBLEM_PATHS = ("problem", "question", "prompt")
ANSWER_PATHS = ("answer", "ground_truth", "reward_model.ground_truth", "reward.ground_truth", "solution")
OPTION_PATHS = ("options", "choices")
TYPE_PATHS = ("problem_type", "subject", "extra_info.problem_type", "extra_info.subject", "type", "kind", "ability")

_OBJECT_LIST = re.compile(r'\s*\[\s*\{\s*"')
_MESSAGE_LIST = re.compile(r'\s*\[\s*\{\s*"(?:role|content)"')
_PRINTED_LIST = re.compile(r"\s*\[\s*\{\s*'(?:role|content)'")
_GSM8K = re.compile(r".*####([^\n]*)", re.DOTALL)
_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)
_LABELLED = re.compile(r"\(?([A-Z])[.:)]")
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+")
_MARKS = re.compile(r"\band\b|[\W_]+")
_WORD = re.compile(r"[^\W\d_]{2,}")
# How a missing value looks after it was made a text, and how people write one. The word "none" may be an answer.
NOT_A_VALUE = ("nan", "<na>", "null", "n/a", "-")
MADE_A_TEXT = ("None", "NaT")
LONGEST_ANSWER = 10  # words; an answer with more, or with line breaks between words, is a paragraph


class NoAnswerError(UserError):
    """A row that holds no answer."""


@dataclass(frozen=True)
class Layout:
    """Paths of the values of a source; ``types`` may be empty, and so may ``options``, the choices of a question.

    ``worked``: the answers are worked solutions, of which the last box counts.
    """

    problem: str
    answer: str
    types: tuple[str, ...]
    options: str = ""
    worked: bool = False


def find_layout(
    columns: list[str], where: str, *, problem_column: str | None = None, answer_column: str | None = None
) -> Layout:
    """The layout of a source with these top-level ``columns``; a named column takes precedence over the known ones."""
    problem = _choose(columns, where, "problem", PROBLEM_PATHS, problem_column)
    answer = _choose(columns, where, "answer", ANSWER_PATHS, answer_column)
    if problem == answer:
        raise UserError(f"{where}: the column '{problem}' cannot be both the problem and the answer")
    return Layout(
        problem,
        answer,
        tuple(path for path in TYPE_PATHS if _head(path) in columns and path not in (problem, answer)),
        next((path for path in OPTION_PATHS if path in columns and path not in (problem, answer)), ""),
        answer == "solution" and answer_column is None,  # math-ai/aime24 has nothing else
    )


def _choose(columns: list[str], where: str, role: str, known: tuple[str, ...], named: str | None) -> str:
    for path in (named,) if named else known:
        if path in columns or _head(path) in columns:
            return path
    if named:
        head = _head(named)
        raise UserError(f"{where}: no column '{head}'{nearest(head, columns)}; columns: {shown(columns)}")
    hint = next((nearest(path, columns) for path in known if nearest(path, columns)), "")
    raise UserError(
        f"{where}: no {role} column: none of {', '.join(known)}{hint}; {role}_column names another; "
        f"columns: {shown(columns)}"
    )


def _head(path: str) -> str:
    return path.partition(".")[0]


def read_row(row: dict[str, Any], layout: Layout, where: str) -> tuple[str, str, str]:
    """``(bare problem, answer, type)`` of a row; ``where`` names its file and place in messages."""
    in_problem, in_answer = f"{where}, column '{layout.problem}'", f"{where}, column '{layout.answer}'"
    problem = _problem_text(_value(row, layout.problem, in_problem), in_problem)
    found = _value(row, layout.answer, in_answer)
    answer = _answer_text(found, layout.worked, in_answer)
    if layout.options:
        in_options = f"{where}, column '{layout.options}'"
        options = _options(row.get(layout.options), in_options)
        _check_choice(answer, options, is_number=isinstance(found, Number), where=in_answer)
        problem = _writable(_with_options(problem, options), in_options)
    return problem, answer, _type_text(row, layout, where)


def _value(row: dict[str, Any], path: str, where: str) -> Any:
    """The value at ``path``; None if a part of it is missing."""
    if path in row:  # also a column whose name has dots
        return row[path]
    value: Any = row
    for part in path.split("."):
        if isinstance(value, str):
            value = _json(value, where)
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _json(text: str, where: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise UserError(f"{where}: not valid JSON: {error}") from None


# --- problems --------------------------------------------------------------------------------------------------------
def _problem_text(value: Any, where: str) -> str:
    if isinstance(value, str):
        value = _messages_of(value, where)
    text = _user_turn(value, where) if isinstance(value, list) else value
    if not isinstance(text, str):
        raise UserError(f"{where}: {_kind(text)}, expected a text or a list of messages")
    problem = bare_problem(text)
    if not problem.strip():
        raise UserError(f"{where}: the problem is empty")
    return _writable(problem, where)


def _messages_of(text: str, where: str) -> Any:
    """The list of messages that ``text`` is the JSON of; any other text as it is, such as ``[{"x": 1}] is a list``."""
    if _PRINTED_LIST.match(text):
        raise UserError(f"{where}: messages as Python prints them, expected JSON; Parquet and JSONL files keep them")
    if _MESSAGE_LIST.match(text):
        return _json(text, where)
    if not _OBJECT_LIST.match(text):
        return text
    try:
        value = read_json(text)
    except ValueError:
        return text
    return value if all(isinstance(part, dict) and "role" in part for part in value) else text


def _user_turn(messages: list[Any], where: str) -> Any:
    """The content of the only user message; a system message is left out, an earlier exchange is refused."""
    if not all(isinstance(message, dict) for message in messages):
        raise UserError(f"{where}: {_kind(messages)}, expected a text or a list of messages")
    roles = [message.get("role") for message in messages]
    if [role for role in roles if role != "system"] != ["user"]:
        raise UserError(f"{where}: messages with the roles {roles}, expected one user message")
    return messages[roles.index("user")].get("content")


def _with_options(problem: str, options: dict[str, str]) -> str:
    """``problem`` with a line for each option below it, as in SciKnowEval's; without, where it already has them."""
    there = (re.search(rf"{re.escape(label)}\W{{1,3}}{re.escape(text)}", problem) for label, text in options.items())
    if all(there):
        return problem
    return f"{problem}\n\n" + "\n".join(f"{label}: {text}" for label, text in options.items())


def _options(value: Any, where: str) -> dict[str, str]:
    """Texts of options by label, out of a list, lines, texts by label, or ``text`` beside ``label``; perhaps JSON."""
    if isinstance(value, str) and value.strip():
        value = _json(value, where) if value.lstrip()[0] in "[{" else value.strip().splitlines()
    if not value or value == [""]:
        return {}
    if isinstance(value, dict) and isinstance(value.get("text"), list) and isinstance(value.get("label"), list):
        value = dict(zip(map(str, value["label"]), value["text"], strict=False))
    if isinstance(value, dict):
        return {label: _option_text(text, where) for label, text in value.items() if text is not None}
    if not isinstance(value, list) or not 1 < len(value) <= len(ascii_uppercase):
        raise UserError(f"{where}: {_kind(value)}, expected a list of options, or one a line")
    texts = dict(zip(ascii_uppercase, (_option_text(text, where) for text in value), strict=False))
    labels = [found and found.group(1) for found in map(_LABELLED.match, texts.values())]
    if labels == list(texts):  # each already begins with its letter
        return {label: text[len(_LABELLED.match(text).group()) :].strip() for label, text in texts.items()}
    return texts


def _option_text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise UserError(f"{where}: {_kind(value)} among the options, expected texts")
    return _number(value, where)


def _check_choice(answer: str, options: dict[str, str], *, is_number: bool, where: str) -> None:
    """`UserError` for an answer that is none of the options, if there are any.

    A number may be an option's place, its value or neither: refused but for a label, or a text that is an option.
    """
    if not options or answer in options or (not is_number and answer in options.values()):
        return
    letters = f"expected one of their letters {', '.join(options)}"
    if is_number or answer.isdigit():
        raise UserError(f"{where}: {answer} beside options; {letters}")
    if not _names_option(answer, options):
        raise UserError(f"{where}: {answer!r:.60} is none of the options; {letters}, or the text of one")


def _names_option(answer: str, options: dict[str, str]) -> bool:
    """Whether an answer is an option's letter, its text or both, or several letters, whatever stands around them."""
    named = _plain(answer)
    texts = {_plain(text) for label, option in options.items() for text in (option, label + option)}
    return named in texts or (named != "" and set(named) <= {_plain(label) for label in options})


def _plain(text: str) -> str:
    """The letters and digits of a text, without those of commands."""
    return _MARKS.sub("", _COMMAND.sub("", text)).casefold()


# --- answers ---------------------------------------------------------------------------------------------------------
def _answer_text(value: Any, worked: bool, where: str) -> str:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value == []:
        raise NoAnswerError(f"{where}: no value")
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _number(value, where)
    if not isinstance(value, str):
        raise UserError(f"{where}: {_kind(value)}, expected an answer")
    text = _unquoted(_writable(value, where).strip())
    if not text:
        raise NoAnswerError(f"{where}: the answer is empty")
    if text.casefold() in NOT_A_VALUE or text in MADE_A_TEXT:
        raise NoAnswerError(f"{where}: '{text}' stands for no value")
    return _writable(_final_answer(text, worked, where), where)


def _number(value: int | float | Decimal, where: str) -> str:
    if value != value:
        raise NoAnswerError(f"{where}: no value")
    try:
        return number_text(value)
    except ValueError as error:
        raise UserError(f"{where}: {error}; write it as a text") from None


def _unquoted(text: str) -> str:
    """A text in JSON's quotes, as columns of mixed types are often saved, without them."""
    if not (len(text) > 1 and text.startswith('"') and text.endswith('"')):
        return text
    try:
        return json.loads(text).strip()
    except json.JSONDecodeError:
        return text


def _final_answer(text: str, worked: bool, where: str) -> str:
    """The content of the last box, what stands behind GSM8K's ``####`` in the last line, or else the text itself."""
    if worked or "\\boxed" in text:
        return extract_answer(text) or _refuse(f"{where}: a solution without a closed, non-empty \\boxed{{}}")
    if found := _GSM8K.fullmatch(text):
        answer = found.group(1).strip() or _refuse(f"{where}: no answer behind ####")
        return answer.replace(",", "") if _GROUPED.fullmatch(answer) else answer
    return text


def _refuse(message: str) -> str:
    raise NoAnswerError(message)


def is_paragraph(answer: str) -> bool:
    """Whether an answer is running text, which no response will repeat word for word."""
    words = len(_WORD.findall(_COMMAND.sub(" ", answer)))
    return words > LONGEST_ANSWER or (words > 2 and "\n" in answer)


# --- types -----------------------------------------------------------------------------------------------------------
def _type_text(row: dict[str, Any], layout: Layout, where: str) -> str:
    for path in layout.types:
        try:
            value = _value(row, path, f"{where}, column '{path}'")
        except UserError:  # a text that is no JSON has no type inside
            continue
        if isinstance(value, list):
            value = ", ".join(str(part) for part in value)
        if isinstance(value, str) and value.strip():
            return _writable(value.strip(), where)
    return UNKNOWN_TYPE


def _kind(value: Any) -> str:
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return "no value"
    if isinstance(value, list):
        return f"a list of {len(value)} values"
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return f"a value of type {'number' if is_number else type(value).__name__}"


def _writable(text: str, where: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(f"{where}: holds a lone surrogate, which is not valid text") from None
    if lost := lost_backslash(text):
        raise UserError(f"{where}: holds {lost}")
    return text
