"""The microcosm's tokenizer: one token per word, with a chat template like the real models'.

``<think>`` and ``</think>`` are ordinary words, so that decoding with special tokens skipped keeps them. Decoding
joins words by one space, and encoding drops white space: encode(decode(ids)) == ids, which demonstrations and
regeneration rely on.
"""

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

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
WORD = r"</?think>|<\|im_(?:start|end)\|>|\\boxed\{|\}|m\d+|\d+|[A-Za-z]+|[^\sA-Za-z\d]"

# The generation prompt: as Qwen3's, an empty block where thinking is switched off; or, as DeepSeek's, an opened one.
_TURNS = "{% for message in messages %}<|im_start|>{{ message.role }} {{ message.content }}<|im_end|>{% endfor %}"
_WITHOUT_THINKING = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
_OPENED = "<think>"


def build_tokenizer(*, opens_thinking: bool = False) -> PreTrainedTokenizerFast:
    """The tokenizer. ``opens_thinking``: its template opens ``<think>`` in the prompt and ignores enable_thinking."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        additional_special_tokens=[START],
        clean_up_tokenization_spaces=False,
    )
    begin = _OPENED if opens_thinking else _WITHOUT_THINKING
    fast.chat_template = f"{_TURNS}{{% if add_generation_prompt %}}<|im_start|>assistant {begin}{{% endif %}}"
    return fast
