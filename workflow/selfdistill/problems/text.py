"""The text of a problem without a data set's instruction around it, and its identity."""

import unicodedata

from selfdistill.files import sha256_text
from selfdistill.prompts import AUTHORS_INSTRUCTION

# Wordings around the bare problem, as (before, after), the longer first. Only these exact texts are removed, so
# that a problem which itself says "step by step" stays as it is.
WRAPPINGS = (
    # the hub's DAPO-Math-17k
    (
        "Solve the following math problem step by step. The last line of your response should be of the form "
        "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n",
        '\n\nRemember to put your answer on its own line after "Answer:".',
    ),
    # the authors' files of DAPO and of the benchmarks (experiments/math/change_math_prompts.py:22)
    ("", f"\n{AUTHORS_INSTRUCTION}"),
    # verl's preparations (examples/data_preprocess: math_dataset.py, gsm8k.py, gsm8k_multiturn_w_tool.py)
    ("", " Let's think step by step and output the final answer within \\boxed{}."),
    ("", ' Let\'s think step by step and output the final answer after "####".'),
    ("", " Let's think step by step and output the final answer after `####`."),
    # the authors' SciKnowEval files
    ("", "\nPlease reason step by step."),
)


def bare_problem(text: str) -> str:
    """``text`` without the instructions of `WRAPPINGS`; nothing else changes, so a prompt can be rebuilt exactly."""
    for before, after in WRAPPINGS:
        text = text.removeprefix(before).removesuffix(after)
    return text


def normalise(text: str) -> str:
    """The form of a problem by which equal problems are recognised.

    Instructions are removed, Unicode is composed (NFC) and white space is folded to single spaces. Letter case stays,
    and so do compatibility characters: NFKC would turn x² into x2.
    """
    return " ".join(unicodedata.normalize("NFC", bare_problem(text.strip())).split())


def problem_id(text: str) -> str:
    """16 hexadecimal digits of the SHA-256 of the normalised ``text``, with or without its instruction."""
    return sha256_text(normalise(text))[:16]
