"""The columns of a problem, its answer and its type, in the layouts of the math data sets on the hub and in verl.

A value is named by a path such as ``reward_model.ground_truth``; each part may be a column, a struct or a JSON
string that holds an object.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from selfdistill.errors import UserError, nearest
from selfdistill.grading.grader import extract_answer
from selfdistill.problems.text import bare_problem

PROBLEM_PATHS = ("problem", "question", "prompt")
ANSWER_PATHS = ("answer", "ground_truth", "reward_model.ground_truth", "reward.ground_truth", "solution")
TYPE_PATHS = ("problem_type", "subject", "extra_info.problem_type", "extra_info.subject", "kind", "ability")
UNKNOWN_TYPE = "unknown"

_MESSAGE_LIST = re.compile(r'\s*\[\s*\{\s*"')


@dataclass(frozen=True)
class Layout:
    """Paths of the values of a source; ``types`` may be empty."""

    problem: str
    answer: str
    types: tuple[str, ...]


def find_layout(
    columns: list[str], where: str, *, problem_column: str | None = None, answer_column: str | None = None
) -> Layout:
    """The layout of a source with these top-level ``columns``; a named column takes precedence over the known ones."""
    return Layout(
        _choose(columns, where, "problem", PROBLEM_PATHS, problem_column),
        _choose(columns, where, "answer", ANSWER_PATHS, answer_column),
        tuple(path for path in TYPE_PATHS if path.partition(".")[0] in columns),
    )


def _choose(columns: list[str], where: str, role: str, known: tuple[str, ...], named: str | None) -> str:
    for path in (named,) if named else known:
        if path.partition(".")[0] in columns:
            return path
    if named:
        head = named.partition(".")[0]
        raise UserError(f"{where}: no column '{head}'{nearest(head, columns)}; columns: {', '.join(columns)}")
    hint = next((nearest(path, columns) for path in known if nearest(path, columns)), "")
    raise UserError(f"{where}: no {role} column: none of {', '.join(known)}{hint}; columns: {', '.join(columns)}")


def read_row(row: dict[str, Any], layout: Layout, where: str) -> tuple[str, str, str]:
    """``(bare problem, answer, type)`` of a row; ``where`` names its file and place in messages."""
    in_problem, in_answer = f"{where}, column '{layout.problem}'", f"{where}, column '{layout.answer}'"
    problem = _problem_text(_value(row, layout.problem, in_problem), in_problem)
    answer = _answer_text(_value(row, layout.answer, in_answer), layout.answer, in_answer)
    return problem, answer, _type_text(row, layout, where)


def _value(row: dict[str, Any], path: str, where: str) -> Any:
    """The value at ``path``; None if a part of it is missing."""
    value: Any = row
    for part in path.split("."):
        if isinstance(value, str):
            value = _json(value, where)
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON: {error}") from None


def _problem_text(value: Any, where: str) -> str:
    if isinstance(value, str) and _MESSAGE_LIST.match(value):
        value = _json(value, where)
    text = _user_turn(value, where) if isinstance(value, list) else value
    if not isinstance(text, str):
        raise UserError(f"{where}: {_kind(text)}, expected a text or a list of messages")
    problem = bare_problem(text)
    if not problem.strip():
        raise UserError(f"{where}: the problem is empty")
    return _writable(problem, where)


def _user_turn(messages: list[Any], where: str) -> Any:
    """The content of the only user message; a system message is left out, an earlier exchange is refused."""
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    if [role for role in roles if role != "system"] != ["user"]:
        raise UserError(f"{where}: messages with the roles {roles}, expected one user message")
    return messages[roles.index("user")].get("content")


def _answer_text(value: Any, path: str, where: str) -> str:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)  # math-ai/amc23 stores 27 as 27.0
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value != value:
        raise UserError(f"{where}: {_kind(value)}, expected an answer")
    text = str(value).strip()
    if "\\boxed" in text or path == "solution":  # math-ai/aime24 has nothing but a solution with the boxed answer
        text = extract_answer(text) or _refuse(f"{where}: a solution without a closed, non-empty \\boxed{{}}")
    if not text:
        raise UserError(f"{where}: the answer is empty")
    return _writable(text, where)


def _refuse(message: str) -> str:
    raise UserError(message)


def _type_text(row: dict[str, Any], layout: Layout, where: str) -> str:
    for path in layout.types:
        value = _value(row, path, f"{where}, column '{path}'")
        if isinstance(value, list):
            value = ", ".join(str(part) for part in value)
        if isinstance(value, str) and value.strip():
            return _writable(value.strip(), where)
    return UNKNOWN_TYPE


def _kind(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "no value" if missing else f"a value of type {type(value).__name__}"


def _writable(text: str, where: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(f"{where}: holds a lone surrogate, which is not valid text") from None
    return text
