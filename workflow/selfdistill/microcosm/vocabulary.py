"""The microcosm's words, each of which is a token. Imports no tokenizer."""

from selfdistill.markers.counting import MARKERS
from selfdistill.microcosm import world
from selfdistill.prompts import CLOSE, OPEN

PAD, START, END, UNKNOWN = "<pad>", "<|im_start|>", "<|im_end|>", "<unk>"
ROLES = ("system", "user", "assistant")
PROMPT_WORDS = "Find x with = , . Correct solution : Correctly solve the original question".split()
TRACE_WORDS = "so ok no be The answer is \\boxed{ }".split()
MODULI = tuple(f"m{modulus}" for modulus in (*world.ANCHORS, *world.TERSE_ANCHORS))
NUMBERS = tuple(str(number) for number in range(100))
VOCABULARY = (
    *(PAD, START, END, UNKNOWN, OPEN, CLOSE),
    *ROLES,
    *PROMPT_WORDS,
    *TRACE_WORDS,
    *MODULI,
    *world.LETTERS,
    *MARKERS,
    *NUMBERS,
)
