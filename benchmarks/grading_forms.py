r"""Whether answers are graded right: `python benchmarks/grading_forms.py [--golds FILE ...] [--json FILE]`.

Every gold answer is rewritten in the usual forms that apply to its kind, each of which means the same (`FORMS`), and in
near misses, which do not (`MISSES`). A table counts by form how many pairs were tried and how many verdicts are right;
wrong ones are listed below it. The gold answers are some hundred of the usual kinds, or those of problem files (any
that the package reads). ``--per-form`` bounds the golds tried in each form; which ones follows from ``--seed``.
"""

import argparse
import json
import math
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from selfdistill.grading import grader
from selfdistill.problems import ProblemSet, load_problem_set

WORKERS = 2
WIDE_DIGITS = str.maketrans("0123456789", "０１２３４５６７８９")
Rewrite = Callable[[str], str | None]  # None where the form does not apply
FORMS: dict[str, Rewrite] = {}
MISSES: dict[str, Rewrite] = {}

INTEGER = re.compile(r"-?\d+")
COUNT = re.compile(r"[1-9]\d*")
DECIMAL = re.compile(r"-?\d*\.\d+")
FRACTION = re.compile(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}")
RADICAL = re.compile(r"(\d*)\s*\\sqrt\{(\d+)\}")
PI = re.compile(r"(\d+)\s*\\pi")
TUPLE = re.compile(r"\(\s*([^()\[\]\\]+(?:,[^()\[\]\\]+)+)\)")
LIST = re.compile(r"-?\d+(?:,\s*-?\d+)+")
SET = re.compile(r"\\\{\s*(-?\d+(?:,\s*-?\d+)*)\s*\\\}")
INTERVAL = re.compile(r"([(\[])(-?\d+|-\\infty),\s*(-?\d+|\\infty)([)\]])")
RAYS = re.compile(r"\(-\\infty,\s*(-?\d+)\)\s*\\cup\s*\((-?\d+),\s*\\infty\)")
PAIR = re.compile(r"(\d+)\s*\\pm\s*([^,]+)")
POLYNOMIAL = re.compile(r"[a-z0-9^+ -]*[a-z][a-z0-9^+ -]*")
EQUATION = re.compile(r"([a-z0-9+^ -]*[a-z][a-z0-9+^ -]*[+-][a-z0-9+^ -]*)=\s*(-?\d+)")
LETTER = re.compile(r"(?:\\text\{)?\(?([A-H])\)?\}?")
WORD = re.compile(r"(?:\\text\{)?([A-Za-z]{4,})\}?")
BASED = re.compile(r"(\d+)_\{?(\d+)\}?")
COMPLEX = re.compile(r"(-?\d+)\s*([+-])\s*(\d*)i")
MATRIX = re.compile(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}")
DEGREES = re.compile(r"(\d+)\^\{?\\circ\}?")
PERCENT = re.compile(r"(\d+)\\?%")
MONEY = re.compile(r"\\\$(\d+(?:\.\d+)?)")
MEASURE = re.compile(r"(\d+)\s*\\(?:text|mbox)\{\s*[a-z ]+\}")
FAMILY = re.compile(r"(\d+)\\pi k,\s*k\\in\s*\\mathbb\{Z\}")


def own_golds() -> list[str]:
    """Some hundred gold answers of the usual kinds."""
    golds = [str(number) for number in (0, -4, 7, 12, 204, 289, 1024, 2500, 10080, 58500, 1200000)]
    golds += [r"\text{Evelyn}", r"\text{even}", "Ellipse", "east", r"\text{(C)}", "B", "(E)", r"\text{(A)}", "D"]
    for n in range(2, 14):
        m = n + 1
        golds += [
            str(17 * n), str(n**3 + 1), str(-3 * n), str(n * n), str(1000 * n + 250), f"{n}.{m}5", f"0.0{n}",
            rf"\frac{{{n}}}{{{m}}}", rf"-\frac{{{m}}}{{{2 * m + 1}}}", rf"\frac{{{n * n + 1}}}{{{n}}}",
            rf"\frac{{{m}}}{{8}}",
            rf"{n}\sqrt{{{2 * n + 1}}}", rf"\sqrt{{{n * n + 1}}}", rf"{n} \sqrt{{3}}", rf"{n}\pi", rf"{4 * n + 3} \pi",
            f"({n}, {-m})", f"({n},{m},{n * n})", f"{n},{-m}", f"{n}, {m}, {n * m}", rf"\{{{n}, {-m}\}}",
            f"[{-n},{m}]", f"({n},{2 * m}]", rf"({n},\infty)", rf"(-\infty,{-n}]", rf"(-\infty,{-n})\cup({m},\infty)",
            rf"{n} \pm \sqrt{{{n + 5}}}", f"x^2 + {n}x - {m}", f"{n}x + {m}", f"{n}x - {m}y + 2 = 0",
            f"x^2 - {n}x = {m}",
            f"{n}12_{5 + n % 4}", f"{n} + {m}i", f"-{n} - {2 * m}i", rf"\begin{{pmatrix}} {n} \\ {-m} \end{{pmatrix}}",
            rf"\begin{{pmatrix}} 1 & {n} \\ {m} & 0 \end{{pmatrix}}", rf"{15 * n}^\circ", rf"{3 * n}\%", rf"\${n}.50",
            rf"{n}\text{{ cm}}", rf"{2 * n}\pi k, k\in\mathbb{{Z}}", rf"\frac{{1}}{{{m}^{{{30 + n}}}}}",
        ]  # fmt: skip
    return golds


def form(name: str) -> Callable[[Rewrite], Rewrite]:
    return lambda rewrite: FORMS.setdefault(name, rewrite)


def miss(name: str) -> Callable[[Rewrite], Rewrite]:
    return lambda rewrite: MISSES.setdefault(name, rewrite)


def from_match(pattern: re.Pattern, rewritten: Callable[..., str | None]) -> Rewrite:
    """The form of every gold answer that is all ``pattern``, made of its groups."""
    return lambda gold: rewritten(*found.groups()) if (found := pattern.fullmatch(gold.strip())) else None


def changed(gold: str, new: str) -> str | None:
    return new if new != gold else None


# --- forms of any answer ----------------------------------------------------------------------------------------------
form("as it is")(lambda gold: gold)
form("spaces around")(lambda gold: f"  {gold} ")
form("in dollars")(lambda gold: f"${gold}$")
form("in two dollars")(lambda gold: f"$${gold}$$")
form(r"in \( \)")(lambda gold: rf"\( {gold} \)")
form(r"in \[ \]")(lambda gold: rf"\[{gold}\]")
form("a point behind it")(lambda gold: f"{gold}.")
form(r"\displaystyle")(lambda gold: rf"\displaystyle {gold}")
form("Unicode minus")(lambda gold: changed(gold, gold.replace("-", "−")))
form("dfrac")(lambda gold: changed(gold, re.sub(r"\\[dt]?frac", r"\\dfrac", gold)))
form("tfrac")(lambda gold: changed(gold, re.sub(r"\\[dt]?frac", r"\\tfrac", gold)))
form("left and right")(lambda gold: changed(gold, re.sub(r"([(\[])(.*)([)\]])", r"\\left\1\2\\right\3", gold)))
form("thin spaces behind commas")(lambda gold: changed(gold, re.sub(r",\s*(?=[-(]|\\[a-z]|\d\b)", r",\\ ", gold)))
form("full-width signs")(lambda gold: changed(gold, gold.translate(str.maketrans("(),", "（），"))))
form("full-width digits")(lambda gold: changed(gold, gold.translate(WIDE_DIGITS)))
form("braced exponents")(lambda gold: changed(gold, re.sub(r"\^(\w)", r"^{\1}", gold)))
form("bare exponents")(lambda gold: changed(gold, re.sub(r"\^\{(\w)\}", r"^\1", gold)))

# --- integers and decimals --------------------------------------------------------------------------------------------
form("a name: n = 5")(lambda gold: named(gold, "n"))
form("a sum: m + n = 5")(lambda gold: named(gold, "m + n"))
form("a value: f(3) = 5")(lambda gold: named(gold, "f(3)"))
form("plus sign")(lambda gold: f"+{gold}" if COUNT.fullmatch(gold) else None)
form("a zero decimal place")(lambda gold: f"{gold}.0" if INTEGER.fullmatch(gold) else None)
form("commas of thousands")(lambda gold: grouped(gold, ","))
form("{,} of thousands")(lambda gold: grouped(gold, "{,}"))
form(r"\, of thousands")(lambda gold: grouped(gold, r"\,"))
form("e-notation")(lambda gold: f"{int(gold) // 10 / 100}e3" if round_number(gold) else None)
form("times a power of 10")(lambda gold: rf"{int(gold) // 10} \times 10^{{1}}" if round_number(gold) else None)
form("a chain of sums")(lambda gold: f"{int(gold) - 1} + 1 = {gold}" if COUNT.fullmatch(gold) else None)
form("a fraction of it")(lambda gold: rf"\frac{{{2 * int(gold)}}}{{2}}" if INTEGER.fullmatch(gold) else None)
form("the root of its square")(lambda gold: f"√{int(gold) ** 2}" if COUNT.fullmatch(gold) else None)
form("a decimal as a fraction")(lambda gold: latex(Fraction(gold)) if DECIMAL.fullmatch(gold) else None)
form("a decimal with a zero more")(lambda gold: f"{gold}0" if DECIMAL.fullmatch(gold) else None)

# --- units and nouns --------------------------------------------------------------------------------------------------
for unit in (" apples", " people", " years old", " m", r" \text{ cm}", r"\mathrm{~km}", " hours.", r" (\text{cm})"):
    form(f"with {unit.strip()}")(lambda gold, unit=unit: f"{gold}{unit}" if COUNT.fullmatch(gold) else None)
form("with m/s^2 upright")(lambda gold: rf"{gold} \mathrm{{~m/s^2}}" if COUNT.fullmatch(gold) else None)
form("without its unit")(from_match(MEASURE, lambda number: number))
form("degrees without a sign")(from_match(DEGREES, lambda number: number))
form("degrees in a word")(from_match(DEGREES, lambda number: rf"{number} \text{{ degrees}}"))
form("percent without a sign")(from_match(PERCENT, lambda number: number))
form("percent as a decimal")(from_match(PERCENT, lambda number: f"{int(number) / 100:.2f}"))
form("money without a sign")(from_match(MONEY, lambda number: number))
form("money in dollars")(from_match(MONEY, lambda number: f"{number} dollars"))

# --- fractions, roots, pi, complex numbers ----------------------------------------------------------------------------
form("fraction with a slash")(from_match(FRACTION, lambda sign, a, b: f"{sign}{a}/{b}"))
form("fraction, expanded")(from_match(FRACTION, lambda sign, a, b: rf"{sign}\frac{{{3 * int(a)}}}{{{3 * int(b)}}}"))
form("sign in the numerator")(from_match(FRACTION, lambda sign, a, b: rf"\frac{{-{a}}}{{{b}}}" if sign else None))
form("fraction without braces")(
    from_match(FRACTION, lambda sign, a, b: rf"{sign}\frac{a}{b}" if len(a + b) == 2 else None)
)
form("mixed number")(from_match(FRACTION, lambda sign, a, b: mixed(sign, int(a), int(b))))
form("exact decimal")(from_match(FRACTION, lambda sign, a, b: exact_decimal(sign, int(a), int(b))))
form("repeating decimal")(from_match(FRACTION, lambda sign, a, b: repeating(sign, int(a), int(b))))
form("six decimal places")(from_match(FRACTION, lambda sign, a, b: rounded(sign, int(a), int(b), 6)))
form("root sign")(from_match(RADICAL, "{0}√{1}".format))
form("sqrt as a word")(from_match(RADICAL, lambda a, b: f"{a}*sqrt({b})" if a else f"sqrt({b})"))
form("root of the whole")(from_match(RADICAL, lambda a, b: rf"\sqrt{{{int(a or 1) ** 2 * int(b)}}}"))
form("root in front")(from_match(RADICAL, lambda a, b: rf"\sqrt{{{b}}} \cdot {a}" if a else None))
form("pi in Unicode")(from_match(PI, "{0}π".format))
form("pi as a word")(from_match(PI, "{0}pi".format))
form("pi in front")(from_match(PI, r"\pi \cdot {0}".format))
form("imaginary part first")(from_match(COMPLEX, lambda a, sign, b: f"{sign}{b}i + {a}".removeprefix("+")))
form("upright i")(from_match(COMPLEX, lambda a, sign, b: rf"{a} {sign} {b}\mathrm{{i}}"))
form("multiples without k in Z")(from_match(FAMILY, r"{0}k\pi".format))
form("multiples with n")(from_match(FAMILY, r"{0}n\pi, n \in \mathbb{{Z}}".format))

# --- lists, intervals, matrices ---------------------------------------------------------------------------------------
form("tuple without spaces")(from_match(TUPLE, lambda inside: f"({inside.replace(' ', '')})"))
form("tuple without parentheses")(from_match(TUPLE, lambda inside: inside))
form("tuple named")(from_match(TUPLE, lambda inside: f"P = ({inside})"))
form("list in another order")(lambda gold: ", ".join(parts(gold)[::-1]) if LIST.fullmatch(gold) else None)
form("list as a set")(lambda gold: rf"\{{{', '.join(sorted(set(parts(gold))))}\}}" if LIST.fullmatch(gold) else None)
form("list with and")(
    lambda gold: r" \text{ and } ".join(parts(gold)) if LIST.fullmatch(gold) and len(parts(gold)) == 2 else None
)
form("list of x =")(lambda gold: ", ".join(f"x = {part}" for part in parts(gold)) if LIST.fullmatch(gold) else None)
form("set in another order")(from_match(SET, lambda inside: rf"\{{{', '.join(parts(inside)[::-1])}\}}"))
form("set of x in")(from_match(SET, r"x \in \{{{0}\}}".format))
form("plus and minus apart")(from_match(PAIR, "{0} - {1}, {0} + {1}".format))
form("interval as inequality")(from_match(INTERVAL, lambda *words: inequality(*words, lower=r"\le", strict="<")))
form("inequality in Unicode")(from_match(INTERVAL, lambda *words: inequality(*words, lower="≤", strict="<")))
form("interval of x in")(lambda gold: rf"x \in {gold}" if INTERVAL.fullmatch(gold) or RAYS.fullmatch(gold) else None)
form("infinity in Unicode")(lambda gold: changed(gold, gold.replace(r"\infty", "∞").replace(r"\cup", "∪")))
form("rays with or")(from_match(RAYS, r"x < {0} \text{{ or }} x > {1}".format))
form("rays in another order")(from_match(RAYS, r"({1},\infty) \cup (-\infty,{0})".format))
form("matrix in brackets")(from_match(MATRIX, r"\begin{{bmatrix}}{0}\end{{bmatrix}}".format))

# --- expressions, equations, choices, words, bases --------------------------------------------------------------------
form("halves of it twice")(lambda gold: rf"\frac{{2({gold})}}{{2}}" if is_polynomial(gold) else None)
form("terms in another order")(lambda gold: " + ".join(terms(gold)[::-1]) if is_polynomial(gold) else None)
form("sides changed")(from_match(EQUATION, "{1} = {0}".format))
form("all on one side")(from_match(EQUATION, "{0} - ({1}) = 0".format))
form("equation times 3")(from_match(EQUATION, "3({0}) = 3 \\cdot ({1})".format))
form("letter")(from_match(LETTER, lambda letter: letter))
for way in (r"({})", r"{}.", r"\textbf{{({})}}", r"{}: 44.05", r"{}. 44.05", r"{}) 44.05", r"({}) \text{{ellipse}}"):
    form(f"letter as {way.format('A')}")(from_match(LETTER, way.format))
form("word in capitals")(from_match(WORD, str.upper))
form("word in small letters")(from_match(WORD, str.lower))
form("word in text")(from_match(WORD, r"\text{{{0}}}".format))
form("base in braces")(from_match(BASED, "{0}_{{{1}}}".format))
form("base behind parentheses")(from_match(BASED, "({0})_{1}".format))
form("base in words")(from_match(BASED, r"{0}_{{\text{{base }}{1}}}".format))

# --- near misses ------------------------------------------------------------------------------------------------------
miss("one more")(lambda gold: str(int(gold) + 1) if INTEGER.fullmatch(gold) else None)
miss("other sign")(lambda gold: str(-int(gold)) if INTEGER.fullmatch(gold) and int(gold) else None)
miss("ten times")(lambda gold: f"{gold}0" if COUNT.fullmatch(gold) else None)
miss("a hundredth")(lambda gold: str(int(gold) / 100) if COUNT.fullmatch(gold) else None)
miss("times a letter")(lambda gold: f"{gold}x" if COUNT.fullmatch(gold) else None)
miss("other number of apples")(lambda gold: f"{int(gold) + 1} apples" if COUNT.fullmatch(gold) else None)
miss("a number word behind")(lambda gold: f"{gold} million" if COUNT.fullmatch(gold) else None)
miss("other exponent")(lambda gold: f"{gold}e1" if COUNT.fullmatch(gold) else None)
miss("fraction upside down")(from_match(FRACTION, lambda sign, a, b: rf"{sign}\frac{{{b}}}{{{a}}}" if a != b else None))
miss("numerator one more")(from_match(FRACTION, lambda sign, a, b: rf"{sign}\frac{{{int(a) + 1}}}{{{b}}}"))
miss("two decimal places")(from_match(FRACTION, lambda sign, a, b: rounded(sign, int(a), int(b), 2)))
miss("radicand one more")(from_match(RADICAL, lambda a, b: rf"{a}\sqrt{{{int(b) + 1}}}"))
miss("root left out")(from_match(RADICAL, lambda a, b: f"{int(a or 1) * int(b)}"))
miss("root cut")(
    from_match(RADICAL, lambda a, b: f"{int(a or 1) * int(b) ** 0.5:.3f}" if math.isqrt(int(b)) ** 2 < int(b) else None)
)
miss("pi left out")(from_match(PI, lambda number: number))
miss("pi as 3.14")(from_match(PI, lambda number: f"{3.14159 * int(number):.2f}"))
miss("conjugate")(from_match(COMPLEX, lambda a, sign, b: f"{a} {'-' if sign == '+' else '+'} {b}i"))
miss("tuple in another order")(from_match(TUPLE, lambda inside: turned(inside)))
miss("bracket changed")(from_match(INTERVAL, lambda a, low, high, b: f"{'[' if a == '(' else '('}{low},{high}{b}"))
miss("bound changed")(from_match(RAYS, r"x < {0} \text{{ or }} x \ge {1}".format))
miss("element left out")(lambda gold: ", ".join(parts(gold)[1:]) if LIST.fullmatch(gold) else None)
miss("element repeated")(lambda gold: ", ".join([parts(gold)[0], *parts(gold)]) if LIST.fullmatch(gold) else None)
miss("element changed")(from_match(SET, lambda inside: rf"\{{{', '.join([*parts(inside)[:-1], '999'])}\}}"))
miss("one sign of two")(from_match(PAIR, "{0} + {1}".format))
miss("matrix with rows changed")(from_match(MATRIX, lambda inside: rows_turned(inside)))
miss("constant one more")(lambda gold: f"{gold} + 1" if is_polynomial(gold) else None)
miss("other right side")(from_match(EQUATION, lambda left, right: f"{left} = {int(right) + 1}"))
miss("other letter")(from_match(LETTER, lambda letter: "B" if letter == "A" else "A"))
miss("other letter and option")(from_match(LETTER, lambda letter: f"{'B' if letter == 'A' else 'A'}: 44.05"))
miss("two letters")(from_match(LETTER, lambda letter: f"({letter}) or ({'B' if letter == 'A' else 'A'})"))
miss("other word")(from_match(WORD, lambda word: f"{word}ly"))
miss("other base")(from_match(BASED, lambda digits, base: f"{digits}_{int(base) + 1}"))
miss("a hundred times a percentage")(from_match(PERCENT, lambda number: f"{number}00"))
miss("a power of ten off")(
    lambda gold: changed(gold, re.sub(r"\^\{(\d\d)\}", lambda found: f"^{{{int(found.group(1)) + 1}}}", gold))
)
miss("half the multiples")(from_match(FAMILY, lambda number: rf"{2 * int(number)}k\pi"))


def named(gold: str, name: str) -> str | None:
    return f"{name} = {gold}" if INTEGER.fullmatch(gold) else None


def grouped(gold: str, separator: str) -> str | None:
    return f"{int(gold):,}".replace(",", separator) if COUNT.fullmatch(gold) and len(gold) > 3 else None


def round_number(gold: str) -> bool:
    return bool(COUNT.fullmatch(gold)) and int(gold) % 10 == 0


def latex(value: Fraction) -> str:
    return rf"{'-' if value < 0 else ''}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def mixed(sign: str, a: int, b: int) -> str | None:
    return rf"{sign}{a // b}\frac{{{a % b}}}{{{b}}}" if a > b and a % b else None


def exact_decimal(sign: str, a: int, b: int) -> str | None:
    places = next((places for places in range(1, 12) if 10**places * a % b == 0), None)
    return f"{sign}{Fraction(a, b).__float__():.{places}f}" if places else None


def repeating(sign: str, a: int, b: int) -> str | None:
    r"""The decimal with its repeating digits under a line, by long division; None for one that ends."""
    whole, rest = divmod(a, b)
    digits, seen = "", {}
    while rest and rest not in seen:
        seen[rest] = len(digits)
        digits += str(10 * rest // b)
        rest = 10 * rest % b
    return rf"{sign}{whole}.{digits[: seen[rest]]}\overline{{{digits[seen[rest] :]}}}" if rest else None


def rounded(sign: str, a: int, b: int, places: int) -> str | None:
    """The decimal cut to ``places``; None where it is exact, or too small to be recognised."""
    value = Fraction(a, b)
    if (value * 10**places).denominator == 1 or value < Fraction(1, 100):
        return None
    return f"{sign}{Fraction(round(value * 10**places), 10**places).__float__():.{places}f}"


def parts(inside: str) -> list[str]:
    return [part.strip() for part in inside.split(",")]


def turned(inside: str) -> str | None:
    return f"({', '.join(parts(inside)[::-1])})" if parts(inside) != parts(inside)[::-1] else None


def rows_turned(inside: str) -> str | None:
    changed_rows = r"\\".join(inside.split(r"\\")[::-1])
    return rf"\begin{{pmatrix}}{changed_rows}\end{{pmatrix}}" if changed_rows != inside else None


def inequality(opening: str, low: str, high: str, closing: str, *, lower: str, strict: str) -> str | None:
    """``low < x < high`` with the given signs."""
    if "infty" not in low + high and int(low) >= int(high):
        return None  # a point
    left = "" if "infty" in low else f"{low} {lower if opening == '[' else strict} "
    right = "" if "infty" in high else f" {lower if closing == ']' else strict} {high}"
    return f"{left}x{right}" if left or right else None


def is_polynomial(gold: str) -> bool:
    return bool(POLYNOMIAL.fullmatch(gold)) and bool(re.search(r"[+-] ?\w", gold)) and not COMPLEX.fullmatch(gold)


def terms(gold: str) -> list[str]:
    """The terms of a sum, each with its own sign."""
    return [term.replace(" ", "") for term in re.findall(r"[+-]?\s*[^+\-\s]+", gold)]


def pairs(golds: list[str], rewrites: dict[str, Rewrite], most: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """(form, answer, gold), at most ``most`` to a form."""
    distinct = list(dict.fromkeys(golds))
    for name, rewrite in rewrites.items():
        found = [(answer, gold) for gold in distinct if (answer := rewrite(gold)) is not None]
        chosen = found if len(found) <= most else random.Random(f"{seed} {name}").sample(found, most)
        yield from ((name, answer, gold) for answer, gold in chosen)


def graded(golds: list[str], most: int, seed: int) -> dict[str, dict[str, list[tuple[str, str, bool]]]]:
    """By "forms" and "near misses" and their names: (answer, gold, whether the verdict is right)."""
    report = {}
    for title, rewrites, right in (("forms", FORMS, True), ("near misses", MISSES, False)):
        tried = list(pairs(golds, rewrites, most, seed))
        verdicts = grader.grade_many([(answer, gold) for _, answer, gold in tried], workers=WORKERS)
        found = defaultdict(list)
        for (name, answer, gold), verdict in zip(tried, verdicts, strict=True):
            found[name].append((answer, gold, verdict is right))
        report[title] = dict(found)
    return report


def read_golds(files: list[Path]) -> list[str]:
    return [
        gold for file in files for gold in load_problem_set(ProblemSet(source="file", file=file))["answer"].tolist()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--golds", type=Path, nargs="+", help="problem files, in place of the golds made here")
    parser.add_argument("--per-form", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    golds = read_golds(arguments.golds) if arguments.golds else own_golds()
    same = sum(grader.grade_many([(gold, gold) for gold in golds], workers=WORKERS))
    print(f"{len(golds)} gold answers, {len(set(golds))} distinct: {same} equal themselves")
    report = graded(golds, arguments.per_form, arguments.seed)
    for title, found in report.items():
        tried = sum(map(len, found.values()))
        print(f"{title}: {tried} tried, {sum(right for cases in found.values() for *_, right in cases)} right")
        for name, cases in found.items():
            print(f"    {name:<30} {len(cases):>5} {sum(right for *_, right in cases):>5}")
    for title, found in report.items():
        for name, cases in found.items():
            for answer, gold, right in cases:
                if not right:
                    print(f"{title}, {name}: {answer!r} for {gold!r}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
