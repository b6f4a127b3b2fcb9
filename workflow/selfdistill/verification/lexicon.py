"""Phrases by which reasoning models say that they verify, for text whose checks cannot be parsed: approximate.

How well they tell verifying sentences from others is measured on sentences labelled by hand (docs/statistics.md, V).
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from selfdistill.markers.counting import as_column

# Patterns are matched by RE2, in time linear in the text whatever it holds. It has no look-around.
_START = r"(?:^|[.!?:;\n*]\s{0,3})(?:(?:and|so|now|ok|okay|hmm|wait|then|finally|also),? ){0,2}"  # of a sentence
_ADVERBS = r"(?:(?:just|also|still|quickly|now|then|finally) ){0,2}"
_AGAIN = r"(?:(?:double|re|cross|sanity)[- ]?)?"
_LET = r"(?:let me|let's|let us|i'll|we'll|i will|i should|i must|we must|i need to|i want to|i'm going to|we can)"
_HAVE = r"(?:i|we|i've|we've|i have|we have)"
_PUT = r"\b(?:plug|substitut|put|insert|feed)\w{0,5}"
_FOUND = r"(?:solution|answer|value|root|result|candidate)s?"
_OBJECT = r"(?:the|this|that|it|my|our|with|on|both|all|each|against|for|by|whether|if|\$)"
PHRASES = (
    # The act, told by the one who reasons: "let me check", "I double-checked", but not "one would have to check".
    rf"\b(?:{_LET}|{_HAVE}) {_ADVERBS}{_AGAIN}(?:check|verify|confirm)\b",
    rf"\b{_HAVE} {_ADVERBS}{_AGAIN}(?:checked|verified|confirmed)\b",
    rf"\b{_LET} {_ADVERBS}(?:see (?:if|whether)|test (?:this|that|it|the|my|our)|go (?:back )?over|run through)\b",
    rf"\b{_LET} {_ADVERBS}re-?(?:comput|calculat|deriv|count|do|examin)\w{{0,5}}",
    # The act at the head of a sentence: "Check:", "Verifying the root", "To double-check, ...", "Sanity check on ...".
    rf"{_START}(?:to |a |quick ){{0,2}}{_AGAIN}(?:check|verify|confirm)[,:.]",
    rf"{_START}{_AGAIN}(?:check|verify|confirm) {_OBJECT}\b",
    rf"{_START}{_AGAIN}(?:checking|verifying|confirming|testing) {_OBJECT}",
    rf"{_START}(?:double|cross|sanity)[- ]?check(?:ing|s)?\b",
    rf"{_START}(?:verification|sanity|test)\b ?(?::|with|of|on|by|\*)",
    r"\b(?:a|quick|direct|sanity) (?:check|count|test) (?:on|at|of|for|with|shows?|confirms)\b",
    r"\bas a (?:sanity |quick |final |cross-?)?check\b",
    r"\bto be (?:sure|safe)\b|\bto make sure\b|\bto (?:check|confirm|verify)[:,.]",
    r"\beasy to (?:check|verify) that\b|\bafter (?:checking|verifying)\b",
    # The found value put back where it came from.
    rf"{_PUT}\b[^.;:]{{0,40}}\bback (?:in (?:gives|yields|shows|we|i)|to (?:check|verify)"
    r"|into (?:the|both|our) (?:original|first|second|third|given|other|problem|equations))",
    rf"{_PUT} (?:the|our|this|that) {_FOUND} back\b",
    r"\bback[- ]substitut\w{0,5} (?:shows|confirms|gives)\b|\bworking backwards? from\b",
    # It agrees with something known apart from it.
    r"\b(?:checks out|check out|holds up|still holds|really (?:is|holds|works|does)|tallies)\b",
    r"\b(?:matches|agrees? with|(?:is|are) consistent with) (?:the|our|my|what|exactly)\b|[,:] matches\b",
    r"\b(?:both|all) (?:\w{1,12} )?(?:sides|values|conditions|equations|approaches|methods|clues)"
    r" (?:check|equal|agree|match|hold|are satisfied)",
    r"\b(?:exactly|just|precisely) (?:what|as|the \w{1,12} (?:size|value|number))\b",
    r"\bas (?:required|expected|desired|claimed|stated|needed|wanted|predicted|it (?:should|must))(?:[.,!)]|$)",
    r"\bindeed (?:equals?|gives?|satisf\w{0,5}|divisible|holds?|works?|\$?\d)",
    r"\bconfirms\b|\bmakes? sense\b|\bso (?:that|it|this) (?:fits|works|checks)\b|✓|✔",
    r"\b(?:does|do) (?:that|this|it|they) (?:work|hold|fit|match)\b|\bis (?:that|this|it) (?:right|correct)\?",
    r", (?:ok|okay|fine|yes|good|correct|great|right)[.!](?:\s|$)",
    # It does not.
    r"\b(?:can't|cannot) be (?:right|correct|true)\b|\bneeds? fixing\b",
    r"\b(?:extraneous|thrown out|is rejected|must be discarded)\b|\b(?:contradicts|violates) (?:the|our|my)\b",
    r"\bmust have (?:made|inverted|mis\w{0,9}|forgotten|dropped)\b",
)
PATTERN = "|".join(f"(?:{phrase})" for phrase in PHRASES).replace("'", "['’]")


def verifies(texts: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Whether a phrase of verification stands in each of ``texts`` [texts]."""
    return pc.match_substring_regex(as_column(texts), PATTERN, ignore_case=True).to_numpy(zero_copy_only=False)
