r"""Multiple choice: the letter with its option, ``\textbf{(C)}\ 12`` for C, and several letters chosen together."""

import re

from selfdistill.grading.tidying import join_words, unwrap_texts

_LETTER = re.compile(r"\(?\s*([A-Za-z])\s*\)?[.:]?")
# A label stands before its option: (A) x, (A): x, A) x, A. x, A: x. Behind a point no letter follows at once.
_LABEL = re.compile(r"(?:\(\s*([A-J])\s*\)(?:\s*[.:]|(?=\s))|([A-J])(?:\s*\)[.:]?|\s*:|\.(?![A-Za-z])))\s*\S")
_ANOTHER = re.compile(r"(?:^|[\s,])\(?[A-J](?:\)[.:]?|[.:])(?=\s|$)|,\s*\(?[A-J]\)?[.:]?$")
_CAPITAL = re.compile("[A-J]")
_TOGETHER = re.compile(r"[A-J]{2,}")


def letter(text: str) -> str | None:
    """The letter that is all of ``text``, perhaps in parentheses."""
    found = _LETTER.fullmatch(text)
    return found.group(1) if found else None


def chooses(answer: str, gold: str) -> bool:
    """Whether ``answer`` names the letter ``gold`` with an option behind it, or the same letters."""
    if not _CAPITAL.search(gold):
        return False
    answer, gold = (join_words(unwrap_texts(text)) for text in (answer, gold))
    label, wanted = _LABEL.match(answer), letter(gold)
    if label and wanted:
        return (label.group(1) or label.group(2)) == wanted and not _ANOTHER.search(answer[label.end() - 1 :])
    several = _letters(answer), _letters(gold)
    return all(several) and several[0] == several[1]


def _letters(text: str) -> frozenset[str] | None:
    """A and C of "AC" and of "(A), (C)"; None for another text, and where a letter is repeated."""
    parts = list(text) if _TOGETHER.fullmatch(text) else [letter(part.strip()) for part in text.split(",") if part]
    if len(parts) < 2 or not all(part and "A" <= part <= "J" for part in parts) or len(set(parts)) < len(parts):
        return None
    return frozenset(parts)
