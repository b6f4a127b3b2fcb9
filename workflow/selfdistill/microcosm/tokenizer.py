"""The microcosm's tokenizer: one token per word, with a chat template like the real models'.

``<think>`` and ``</think>`` are ordinary words, so that decoding with special tokens skipped keeps them. Decoding
joins words by one space, and encoding drops white space: encode(decode(ids)) == ids, which demonstrations and
regeneration rely on.
"""

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from selfdistill.microcosm.vocabulary import END, PAD, START, UNKNOWN, VOCABULARY

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
