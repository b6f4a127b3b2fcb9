"""Phrases by which reasoning models say that they verify, for text whose checks cannot be parsed: approximate.

How well they tell verifying sentences from others is measured on sentences labelled by hand (docs/statistics.md).
"""

import re

# Each names the act of checking something already found, not a step of solving: "substitute x = 2 back", not "substitute".
PHRASES = (
    r"\b(?:let me|let's|let us|i'll|i will|we can|we|to|now|i) (?:quickly |just |also )?(?:double[- ]?|re-?)?(?:check|verify|confirm)\b(?! (?:if|whether) (?:there|any))",
    r"\b(?:double|cross|sanity)[- ]?check(?:ed|ing|s)?\b",
    r"\bre-?(?:check|verif|comput|calculat|deriv|count|do(?:ing)? the)\w*",
    r"\b(?:check|verification|sanity check|proof check|test)\s*:",
    r"\b(?:checking|verifying|confirming|testing)\b",
    r"\b(?:plug|substitut|put|insert|feed)\w*\b[^.;]{0,60}\bback\b",
    r"\bback[- ]substitut\w*",
    r"\b(?:which|that|this|it|indeed|so)\b[^.;]{0,40}\b(?:matches|agrees|checks out|is consistent with|fits|works out|adds up|holds up)\b",
    r"\b(?:as|just as) (?:required|expected|desired|claimed|stated|needed|wanted|it should)\b",
    r"\bindeed (?:equals?|gives?|satisf\w+|divisible|holds?|works?|is|are|an?)\b",
    r"\b(?:both|all) (?:sides|conditions|equations|constraints|clues)\b[^.;]{0,40}\b(?:equal|agree|match|hold|satisfied|met)\b",
    r"\b(?:does|do) (?:that|this|it|they) (?:work|hold|fit|match|make sense|check out)\b",
    r"\bis (?:that|this|it) (?:right|correct|consistent)\b",
)
_ANY = re.compile("|".join(f"(?:{phrase})" for phrase in PHRASES), re.IGNORECASE)


def verifies(text: str) -> bool:
    """Whether a phrase of verification stands in ``text``."""
    return _ANY.search(text) is not None
