r"""Removes what never changes an answer: spacing and sizing commands, currency and degree signs, units."""

import re

_SYMBOLS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "×": r"\times ",
        "π": r"\pi ",
        "∞": r"\infty ",
        "∪": r"\cup ",
        "√": r"\sqrt ",
        "∅": r"\emptyset ",
    }
)
_END = r"(?![a-zA-Z])"  # of a command's name

_RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"(?<=\d)(?:\{,\}|,\\!\s*|\\,)(?=\d{3}(?!\d))", ""),  # thousands separators that cannot be anything else
        (rf"\\[$!]|\$|[€£¥]|\\(?:left|right|[bB]igg?[lr]?){_END}\.?|\\(?:displaystyle|(?:no)?limits){_END}", ""),
        (rf"(?<!\\)\\[,;: ]|~|\\q?quad{_END}|\s+", " "),
        (rf"\\[dtc]frac{_END}", r"\\frac"),
        (r"\{(?:[bB]|small)matrix\}", "{pmatrix}"),
        (rf"\^\s*(?:\{{\s*\\circ\s*\}}|\\circ{_END})|\\(?:text)?degree{_END}|°", ""),
        (r"\\%", "%"),
        (rf"\\varnothing{_END}|\\\{{\s*\\\}}", r"\\emptyset "),
        (rf"\\lbrace{_END}", r"\\{"),
        (rf"\\rbrace{_END}", r"\\}"),
        (rf"\\langle{_END}", "("),
        (rf"\\rangle{_END}", ")"),
        (r"_\{(\w)\}", r"_\1"),
        (r"(?:,\s*)?(?:\\text\s*\{\s*(?:,\s*)?(?:and|or)\s*\}|(?<=\s)(?:and|or)(?=\s))|;", ","),
    ]
]

_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|[mh]box|math(?:rm|bf|it|sf|tt))\s*\{([^{}]*)\}")
# Units written as plain words behind a number need a list; those inside \text do not.
_UNIT = (
    r"(?:square|cubic|sq\.?|per|degrees?|percent|units?|cents?|dollars?|hours?|minutes?|seconds?|days?|weeks?|months?"
    r"|years?|inch(?:es)?|feet|foot|ft|yards?|miles?|mph|meters?|metres?|liters?|litres?|grams?|[ckm]m|kg)"
)
_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d)|[²³])?"
_PLAIN_UNIT = re.compile(rf"(?<=[\d}}])\s*(?:\b{_UNIT}\b\s*)+{_POWER}$|(?<=\d)[ckm]m{_POWER}$")
_UNIT_TEXT = re.compile(
    rf"(?:\\(?:text\w*|[mh]box)\s*\{{(?![ie]\}})[^{{}}]*\}}"  # an upright i or e is a number
    rf"|\\mathrm\s*\{{\s*(?:{_UNIT}|[msghLJNWVK])\s*\}}){_POWER}"
)
_IDLE_SPACE = re.compile(r"(?<!\d)\s+|\s+(?!\d|\s)")


def respell(text: str) -> str:
    """``text`` with one spelling for each thing, and without spacing, sizing, currency and degree signs."""
    text = text.translate(_SYMBOLS)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text.strip()


def unwrap_texts(text: str) -> str:
    r"""``text`` with the content of every ``\text{...}`` in its place."""
    return _TEXT.sub(r"\1", text).strip()


def drop_units(text: str) -> str:
    r"""``text`` without units: a ``\text{...}`` beside something else is one, a ``\text`` that stands alone is not."""
    without = _UNIT_TEXT.sub(" ", text)
    if not re.search(r"[0-9A-Za-z]", without):
        return _trim(unwrap_texts(text))
    without = re.sub(r"[\^_]\s*\{\s*\}", "", unwrap_texts(without))  # the rest of 5^{\text{th}}
    return _trim(_PLAIN_UNIT.sub("", without))


def squeeze(text: str) -> str:
    """``text`` without white space, but for that between digits: 3 1/2 is not 31/2."""
    return _IDLE_SPACE.sub("", text)


def _trim(text: str) -> str:
    text = text.strip(" =").rstrip(" ./\\")
    return _trim(text[1:-1]) if _is_one_group(text) else text


def _is_one_group(text: str) -> bool:
    """True if ``text`` is one group in braces, which TeX does not print."""
    if not (text.startswith("{") and text.endswith("}")):
        return False
    depth = 0
    for found in re.finditer(r"\\.|[{}]", text):
        depth += {"{": 1, "}": -1}.get(found.group(), 0)
        if depth == 0:
            return found.end() == len(text)
    return False
