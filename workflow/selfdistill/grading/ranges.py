r"""Inequalities joined by "or" as the union of their intervals: ``x<-1 or x>5`` is ``(-\infty,-1)\cup(5,\infty)``."""

import re

_OR = re.compile(
    r"\s*,?\s*(?:\\(?:text\w*|mbox|mathrm)\s*\{\s*,?\s*or\s*\}|(?<=\s)or(?=\s)|\\(?:lor|vee|cup)(?![A-Za-z]))\s*"
)
_NAME = r"(?:[A-Za-z]|\\(?:theta|alpha|beta|lambda))(?:_\w|_\{\w+\})?"
_RELATION = r"(<|>|\\leq|\\geq)"
_VALUE = r"([^<>=,]+?)"
_FORMS = [
    (re.compile(rf"({_NAME})\s*{_RELATION}\s*{_VALUE}"), "name relation value"),
    (re.compile(rf"{_VALUE}\s*{_RELATION}\s*({_NAME})"), "value relation name"),
    (re.compile(rf"{_VALUE}\s*{_RELATION}\s*({_NAME})\s*{_RELATION}\s*{_VALUE}"), "between"),
    (re.compile(rf"({_NAME})\s*=\s*{_VALUE}"), "equal"),
]
_INTERVAL = re.compile(rf"(?:{_NAME}\s*\\in\s*)?([(\[][^()\[\],]+,[^()\[\],]+[)\]])")
_TURNED = {"<": ">", ">": "<", r"\leq": r"\geq", r"\geq": r"\leq"}


def join_ranges(text: str) -> str:
    r"""``text`` with ``\cup`` for each "or" of inequalities in one unknown, and of intervals; any other as it is."""
    if not any(map(text.__contains__, ("or", "\\vee", "\\cup"))):
        return text
    parts = _OR.split(text)
    if len(parts) < 2:
        return text
    read = [_read(part.strip()) for part in parts]
    if None in read or len({name for name, _ in read} - {""}) > 1:
        return text
    if not any("\\infty" in interval for _, interval in read):
        return text  # perhaps points, or numbers
    return r"\cup".join(interval for _, interval in read)


def _read(part: str) -> tuple[str, str] | None:
    """(name, interval) of an inequality, an equation or an interval, whose name is ""; None for anything else."""
    if found := _INTERVAL.fullmatch(part):
        return "", found.group(1)
    for form, kind in _FORMS:
        if found := form.fullmatch(part):
            return _interval(kind, *found.groups())
    return None


def _interval(kind: str, *words: str) -> tuple[str, str] | None:
    if kind == "equal":
        return words[0], rf"\{{{words[1]}\}}"
    if kind == "between":
        low, first, name, second, high = words
        if first[:2] in (">", r"\g"):
            low, first, second, high = high, _TURNED[second], _TURNED[first], low
        if second in (">", r"\geq") or first in (">", r"\geq"):
            return None
        return name, f"{'(' if first == '<' else '['}{low},{high}{')' if second == '<' else ']'}"
    if kind == "value relation name":
        words = (words[2], _TURNED[words[1]], words[0])
    name, relation, value = words
    return name, {
        "<": rf"(-\infty,{value})",
        r"\leq": rf"(-\infty,{value}]",
        ">": rf"({value},\infty)",
        r"\geq": rf"[{value},\infty)",
    }[relation]
