r"""Units and counted nouns, which an answer may have or lack: ``15\text{ cm}``, 9.8 m/s^2, 11 apples."""

import re

from selfdistill.grading.tidying import unwrap_texts

# Words inside \text that make another number of the one beside them, or no longer say which.
_CHANGES = r"\b(?:not|least|most|than|under|below|hundreds?|thousands?|millions?|billions?|trillions?|dozens?)\b"
# Units written as plain words behind a number need a list; those inside \text do not.
_UNIT = (
    r"(?:square|cubic|sq\.?|per|degrees?|percent|units?|cents?|dollars?|hours?|minutes?|seconds?|days?|weeks?|months?"
    r"|years?|inch(?:es)?|feet|foot|ft|yards?|miles?|mph|(?:centi|milli|kilo)?met(?:er|re)s?|lit(?:er|re)s?"
    r"|(?:kilo|milli)?grams?|[ckm]m|kg)"
)
_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d))?"
_PLAIN_UNIT = re.compile(rf"(?<=[\d}}])\s*(?:\b{_UNIT}\b\s*)+{_POWER}$|(?<=\d)[ckm]m{_POWER}$")
_UNIT_TEXT = re.compile(
    rf"(?:\\(?:text\w*|[mh]box)\s*\{{(?![ie]\}}|[^{{}}]*{_CHANGES})[^{{}}]*\}}"  # an upright i or e is a number
    rf"|\\mathrm\s*\{{\s*(?:{_UNIT}|[msghLJNWVK])\s*\}}){_POWER}"
)
_ROMAN = r"\\mathrm\s*\{(?!\s*[ie]\s*\})[^{}]*(?:\{[^{}]*\}[^{}]*)?\}" + _POWER
_ROMAN_UNIT = re.compile(rf"(?<=[\d}})])\s*{_ROMAN}(?:\s*(?:/|\\cdot|\*)?\s*{_ROMAN})*$")
_SYMBOL = r"(?:[cdkmn]?m|[km]?g|ms|s|USD|EUR|min|hrs?|h|m?L|mol|k?J|k?W|k?Hz|k?Pa|N|V|K|mi|lbs?|oz|yd|rad|k?cal|k?eV)"
_SYMBOLS = re.compile(rf"(?<=\d)(?:\s+{_SYMBOL}{_POWER}|\s*{_SYMBOL}{_POWER}(?:\s*/\s*{_SYMBOL}{_POWER})+)$")
_IN_PARENTHESES = re.compile(
    rf"(?<=[\d}}])\s*\(\s*(?:(?:{_UNIT}\s*)+|\\(?:text|mathrm|mbox)\s*\{{[^{{}}]*\}}|{_SYMBOL}(?:/{_SYMBOL})*)"
    rf"{_POWER}\s*\)$"
)
_COUNTED = re.compile(r"(.*[\d}%])\s+([A-Za-z]?[a-z]+(?:[ -][a-z]+){0,4})")
# Words that change the number before them, or are numbers themselves.
_NO_NOUNS = frozenset(
    "a about above after alpha an and approximately at base before below beta billion but by choose cos cot crore"
    " cubed delta digits divided double dozen dozens eight eleven epsilon except exp factorial fewer fifths five"
    " four fourths from gamma greater gross half halves hundred hundreds hundredths if in infinity is lakh lambda"
    " least less ln log million millions minus mod modulo more most mu multiplied negative nine no none not of off"
    " omega one or over percentage phi pi plus positive power quadrillion quarter quarters radical raised rho root"
    " score sec seven sigma sin six sixths squared tan tau ten tens tenths than the theta third thirds thousand"
    " thousands thousandths three times to trillion twelve twice two under unless up when where wrong zero".split()
)

# Spellings of the units that are told apart; all others are only dropped.
_TOLD_APART = {
    spelling: spellings.split()[0]
    for spellings in (
        "mm millimeter millimeters millimetres",
        "cm centimeter centimeters centimetres",
        "m meter meters metre metres",
        "km kilometer kilometers kilometres",
        "inch inches",
        "ft foot feet",
        "yard yards yd",
        "mile miles mi",
        "s second seconds sec",
        "min minute minutes",
        "h hr hrs hour hours",
        "day days",
        "week weeks",
        "month months",
        "year years",
        "g gram grams",
        "kg kilogram kilograms",
        "dollar dollars",
        "cent cents",
    )
    for spelling in spellings.split()
}
_LAST_WORD = re.compile(rf"[\d}})]\s*([a-z]+){_POWER}\.?$")


def in_other_units(answer: str, gold: str) -> bool:
    """Whether both end in a unit that is told apart, and not in the same."""
    found = [_LAST_WORD.search(unwrap_texts(text)) for text in (answer, gold)]
    units = {_TOLD_APART.get(word.group(1)) for word in found if word}
    return all(found) and None not in units and len(units) > 1


def drop_units(text: str) -> str:
    r"""``text`` without units: a ``\text{...}`` beside something else is one, a ``\text`` that stands alone is not."""
    text = text.rstrip(" .")
    without = _UNIT_TEXT.sub(" ", _ROMAN_UNIT.sub("", _IN_PARENTHESES.sub("", text)).strip())
    if not re.search(r"[0-9A-Za-z]", without):
        return _trim(unwrap_texts(text))
    without = re.sub(r"[\^_]\s*\{\s*\}", "", unwrap_texts(without))  # the rest of 5^{\text{th}}
    return _trim(_PLAIN_UNIT.sub("", without))


def drop_noun(text: str) -> str | None:
    """The number before a unit's symbol or a counted noun: 11 of "11 years old"; None for another text."""
    if found := _SYMBOLS.search(text):
        return text[: found.start()]
    found = _COUNTED.fullmatch(text)
    if not found:
        return None
    words = re.split("[ -]", found.group(2).lower())
    return found.group(1) if len(words[0]) > 2 and _NO_NOUNS.isdisjoint(words) else None


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
