r"""One spelling for each thing, without what never changes an answer: spacing, sizing, currency and degree signs."""

import re
from fractions import Fraction

_SYMBOLS = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # full-width forms of ASCII
    | {
        "\u3000": " ",
        "、": ",",
        "。": ".",
        "−": "-",
        "–": "-",
        "×": r"\times ",
        "·": r"\cdot ",
        "⋅": r"\cdot ",
        "π": r"\pi ",
        "θ": r"\theta ",
        "α": r"\alpha ",
        "β": r"\beta ",
        "∞": r"\infty ",
        "∪": r"\cup ",
        "∈": r"\in ",
        "≤": r"\leq ",
        "≥": r"\geq ",
        "⩽": r"\leq ",
        "⩾": r"\geq ",
        "≠": r"\neq ",
        "∅": r"\emptyset ",
        "½": r"\frac{1}{2}",
        "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}",
        "⅓": r"\frac{1}{3}",
        "⅔": r"\frac{2}{3}",
        "ℝ": r"\mathbb{R}",
        "ℤ": r"\mathbb{Z}",
        "ℕ": r"\mathbb{N}",
        "ℚ": r"\mathbb{Q}",
        "ℂ": r"\mathbb{C}",
    }
)
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "₀₁₂₃₄₅₆₇₈₉"
_LEVEL = str.maketrans(_RAISED + _LOWERED, "0123456789-0123456789")
_END = r"(?![a-zA-Z])"  # of a command's name
_FUNCTIONS = r"arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp"
_DEGREE = rf"(?:\^\s*(?:\{{\s*\\circ\s*\}}|\\circ{_END}|∘)|\\(?:text)?degree{_END}|°)"
_DEGREES = rf"(\d+(?:\.\d+)?)\s*{_DEGREE}"
_BASES = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

# A rule can only apply if one of the texts in front of it occurs; this check skips most rules.
_RULES = [
    (triggers, re.compile(pattern), replacement)
    for triggers, pattern, replacement in [
        (("\\(", "\\)", "\\[", "\\]"), r"(?<!\\)\\[()\[\]]", ""),  # the borders of mathematics in a text
        # Thousands separators that cannot be anything else.
        (("{,}", ",\\!", "\\,"), r"(?<=\d)(?:\{,\}|,\\!\s*|\\,)(?=\d{3}(?!\d))", ""),
        (("$", "\\!"), r"\\[$!]|\$", ""),
        (("€", "£", "¥"), r"[€£¥]", ""),
        (("\\left", "\\right", "big", "Big"), rf"\\(?:left|right|[bB]igg?[lr]?){_END}\.?", ""),
        (("displaystyle", "limits"), rf"\\(?:displaystyle|(?:no)?limits){_END}", ""),
        (("\\", "~", " ", "\n", "\t"), r"(?<!\\)\\[,;: ]|~|\s+", " "),
        (("dfrac", "tfrac", "cfrac"), rf"\\[dtc]frac{_END}", r"\\frac"),
        (("bmatrix", "Bmatrix", "smallmatrix"), r"\{(?:[bB]|small)matrix\}", "{pmatrix}"),
        (("\\le", "<="), rf"\\(?:leqslant|leqq?|le){_END}|<=", r"\\leq "),
        (("\\ge", ">="), rf"\\(?:geqslant|geqq?|ge){_END}|>=", r"\\geq "),
        (("\\ne",), rf"\\neq?{_END}", r"\\neq "),
        (("\\lt",), rf"\\lt{_END}", "<"),
        (("\\gt",), rf"\\gt{_END}", ">"),
        (("\\mid", "vert"), rf"\\(?:mid|[lr]?vert){_END}", "|"),
        (
            ("\\mathbb", "\\Bbb"),
            rf"\\(?:mathbb|Bbb)\s*(?:\{{\s*([A-Z])\s*\}}|([A-Z]){_END})",
            r"\\mathbb{\1\2}",
        ),
        # Names of functions, also where the backslash is left out.
        (
            ("operatorname", "mathrm"),
            rf"\\(?:operatorname\*?|mathrm)\s*\{{\s*({_FUNCTIONS})\s*\}}",
            r"\\\1 ",
        ),
        (
            ("sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "sqrt"),
            rf"(?<![\\A-Za-z])({_FUNCTIONS}|sqrt){_END}(?=\s*(?:[\d({{\\^]|[a-z]{_END}))",
            r"\\\1 ",
        ),
        # A sine of degrees is not one of radians; elsewhere the sign is a unit.
        (
            ("\\sin", "\\cos", "\\tan", "\\cot", "\\sec", "\\csc"),
            rf"(\\(?:sin|cos|tan|cot|sec|csc)\s*)(?:{_DEGREES}|\(\s*{_DEGREES}\s*\))",
            r"\1(\\frac{\2\3\\pi}{180})",
        ),
        (("circ", "∘", "degree", "°"), _DEGREE, ""),
        (("\\%",), r"\\%", "%"),
        (("\\varnothing", "\\{"), rf"\\varnothing{_END}|\\\{{\s*\\\}}", r"\\emptyset "),
        (("\\lbrace",), rf"\\lbrace{_END}", r"\\{"),
        (("\\rbrace",), rf"\\rbrace{_END}", r"\\}"),
        (("\\langle",), rf"\\langle{_END}", "("),
        (("\\rangle",), rf"\\rangle{_END}", ")"),
        (("^",), r"\^\s*-\s*(\d+)", r"^{-\1}"),
        (("^",), r"\^\s*\{\s*(\w)\s*\}(?!\s*\d)", r"^\1"),
    ]
]
_AND_OR = re.compile(r"(?:,\s*)?(?:\\(?:text|mbox)\s*\{\s*(?:,\s*)?(?:and|or)\s*\}|(?<=\s)(?:and|or)(?=\s))|;")
_SUBSCRIPT = re.compile(r"_\{(\w)\}")
_REPEATING = re.compile(
    r"(?<![\d.])(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*(?:\{\s*(\d+)\s*\}|(\d))|(?<=\.)\((\d+)\))(?!\s*[\d_)])",
    re.ASCII,
)
_A_BASE = rf"(\d+|{'|'.join(_BASES)})"
_BASE = re.compile(
    r"\s*(?:_\s*\{?)?\s*(?:\\text\w*\s*\{)?\s*\(?\s*(?:in )?base[ -]\s*\}?\s*" + _A_BASE + r"\s*\)?\s*\}*$"
    rf"|_\s*\{{?\s*(?:\\text\w*\s*\{{\s*{_A_BASE}\s*\}}|\((\d+)\))\s*\}}?$"
)
_BARE_PI = re.compile(rf"(?<![\\A-Za-z])pi{_END}")
_LETTERS = re.compile(r"\\[A-Za-z]+|[A-Za-z]+")

_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|[mh]box|math(?:rm|bf|it|sf|tt))\s*\{([^{}]*)\}")
_IDLE_SPACE = re.compile(r"(?<!\d)\s+|\s+(?!\d|\s)")


def respell(text: str) -> str:
    """``text`` with one spelling for each thing; "and" and "or" stay (`join_words`), and so do units."""
    if not text.isascii():
        text = _respell_unicode(text)
    if "=" in text or "quad" in text:
        text = _part_equations(text)
    for triggers, pattern, replacement in _RULES:
        if any(map(text.__contains__, triggers)):
            text = pattern.sub(replacement, text)
    if "overline" in text or "bar" in text or "dot" in text or "(" in text:
        text = _REPEATING.sub(_as_fraction, text)
    if "_" in text or "base" in text:
        text = _SUBSCRIPT.sub(r"_\1", re.sub(r"^\(([\dA-F]+)\)\s*(?=_)", r"\1", _BASE.sub(_subscript, text)))
    return _root_signs(text).strip()


def _respell_unicode(text: str) -> str:
    text = re.sub(f"[{_RAISED}]+", lambda found: f"^{{{found.group().translate(_LEVEL)}}}", text.translate(_SYMBOLS))
    return re.sub(f"[{_LOWERED}]+", lambda found: f"_{{{found.group().translate(_LEVEL)}}}", text)


def join_words(text: str) -> str:
    """``text`` with commas for the words "and" and "or", and for semicolons."""
    return _AND_OR.sub(",", text).strip() if ";" in text or "and" in text or "or" in text else text


def name_pi(answer: str, gold: str) -> tuple[str, str]:
    """Both with ``\\pi`` for a bare ``pi``, unless the gold answer has a variable p: then it is a product."""
    if "pi" not in answer and "pi" not in gold:
        return answer, gold
    if any("p" in run and run != "pi" for run in _LETTERS.findall(gold) if not run.startswith("\\")):
        return answer, gold
    return _BARE_PI.sub(r"\\pi ", answer), _BARE_PI.sub(r"\\pi ", gold)


def unwrap_texts(text: str) -> str:
    r"""``text`` with the content of every ``\text{...}`` in its place."""
    return _TEXT.sub(r"\1", text).strip()


def squeeze(text: str) -> str:
    """``text`` without white space, but for that between digits: 3 1/2 is not 31/2."""
    return _IDLE_SPACE.sub("", text)


def group_end(text: str, start: int) -> int | None:
    """Where the bracket that opens at ``start`` has closed; None when it never does."""
    depth = 0
    for found in re.compile(r"\\.|[()\[\]{}]", re.DOTALL).finditer(text, start):
        depth += (found.group() in "([{") - (found.group() in ")]}")
        if depth == 0:
            return found.end()
    return None


def _part_equations(text: str) -> str:
    """A wide space between two equations, or a letter behind a number and a space, begins another equation."""
    space = rf"(?:\\q?quad{_END}\s*)+"
    text = re.sub(rf"(=[^=,]*?[^=,\s])\s*,?\s*{space}(?=[^=,]+=)", r"\1, ", text)
    text = re.sub(space, " ", text)
    return re.sub(r"(=\s*-?[\d.]+)\s+(?=[A-Za-z]\s*=)", r"\1, ", text)


def _as_fraction(found: re.Match) -> str:
    """A repeating decimal: 1.2 with 7 repeating is (127 - 12) / 90."""
    whole, fixed = found.group(1) or "0", found.group(2)
    repeating = found.group(3) or found.group(4) or found.group(5)
    below = (10 ** len(repeating) - 1) * 10 ** len(fixed)
    value = Fraction(int(whole + fixed + repeating) - int(whole + fixed), below)
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}" if value.denominator > 1 else str(value)


def _subscript(found: re.Match) -> str:
    base = found.group(1) or found.group(2) or found.group(3)
    return f"_{{{_BASES.index(base) + 2 if base in _BASES else base}}}"


_ROOT = re.compile(r"[√∛]\s*|\\sqrt\s*(?=\()")
_OPERAND = re.compile(r"\d+(?:\.\d+)?|\\sqrt\{|[A-Za-z]|\\(?:pi|theta|alpha|beta)" + _END, re.ASCII)


def _root_signs(text: str) -> str:
    """Root signs, and ``\\sqrt`` before parentheses, as ``\\sqrt{...}`` of the whole number or group behind them."""
    if not any(map(text.__contains__, ("√", "∛", "\\sqrt"))):
        return text
    for found in reversed(list(_ROOT.finditer(text))):
        before, rest = text[: found.start()] + r"\sqrt" + ("[3]" if "∛" in found.group() else ""), text[found.end() :]
        if rest[:1] in ("(", "{"):
            end = group_end(rest, 0)
            if end is None:
                return text
            text = rf"{before}{{{rest[1 : end - 1]}}}{rest[end:]}"
        elif operand := _OPERAND.match(rest):
            end = group_end(rest, operand.end() - 1) if operand.group().endswith("{") else operand.end()
            if end is None:
                return text
            text = rf"{before}{{{rest[:end]}}}{rest[end:]}"
        else:
            text = f"{before} {rest}"
    return text
