"""How much memory of its GPUs on-policy training needs: arithmetic, not measured on any (the table of docs/slurm.md).

Weights, gradients and optimizer states in float32 (16 bytes per parameter) and SDPO's teacher are divided among the
GPUs. While responses are drawn, gradients are gone, and vLLM's share lies beside the rest. While the model is updated,
vLLM sleeps, and each GPU holds the activations of one micro-batch: the states between layers, one layer computed again,
and the output layer, gathered, with its gradient.
"""

from dataclasses import dataclass

from selfdistill.training.settings import VLLM_MEMORY

STATES, GRADIENT, TEACHER, MOVING_TEACHER = 16, 4, 2, 4  # bytes per parameter; states with the gradient
HALF, FLOAT = 2, 4  # bytes
REST = 4.0  # GB of each GPU: CUDA's own, fragments, what vLLM keeps asleep
PROMPT = 2048  # tokens
GIGABYTE = 1e9


@dataclass(frozen=True)
class Shape:
    """A model's dimensions, as its published configuration has them."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_heads: int
    head: int
    vocabulary: int
    tied: bool = False  # input and output embeddings
    key_bias: bool = False  # of queries, keys and values
    head_norms: int = 0  # weights of the norms of queries and keys, per layer
    norms: int = 2  # of the hidden width, per layer

    @property
    def parameters(self) -> int:
        queries, keys = self.heads * self.head, self.key_heads * self.head
        attention = self.hidden * (2 * queries + 2 * keys) + self.key_bias * (queries + 2 * keys)
        layer = attention + 3 * self.hidden * self.intermediate + self.norms * self.hidden + self.head_norms
        return self.layers * layer + self.hidden + (2 - self.tied) * self.vocabulary * self.hidden

    @property
    def cache(self) -> int:
        """Bytes of keys and values per token."""
        return self.layers * self.key_heads * self.head * 2 * HALF


SHAPES = {
    "DeepSeek-R1-Distill-Qwen-1.5B": Shape(28, 1536, 8960, 12, 2, 128, 151_936, key_bias=True),
    "Qwen3-1.7B": Shape(28, 2048, 6144, 16, 8, 128, 151_936, tied=True, head_norms=256),
    "DeepSeek-R1-Distill-Qwen-7B": Shape(28, 3584, 18944, 28, 4, 128, 152_064, key_bias=True),
    "Qwen3-8B": Shape(36, 4096, 12288, 32, 8, 128, 151_936, head_norms=256),
    "Olmo-3-7B-Instruct": Shape(32, 4096, 11008, 32, 32, 128, 100_278, head_norms=8192),
}


@dataclass(frozen=True)
class Need:
    """Gigabytes of each GPU while responses are drawn, and while the model is updated."""

    drawing: float
    updating: float

    def fits(self, memory: float) -> bool:
        return max(self.drawing, self.updating) <= memory


def need(
    shape: Shape, *, gpus: int, memory: float, tokens: int, teacher: int = TEACHER, vllm_memory: int = VLLM_MEMORY
) -> Need:
    """Memory needed to train all weights on ``gpus`` of ``memory`` GB each, with responses of up to ``tokens``.

    ``teacher``: bytes per parameter of a second model; 0 for GRPO. ``vllm_memory``: vLLM's share, in percent.
    """
    held = shape.parameters * (STATES + teacher) / gpus / GIGABYTE + REST
    between = (PROMPT + tokens) * shape.layers * shape.hidden * HALF
    read = PROMPT + tokens * (2 if teacher else 1)  # by the teacher a demonstration as well, without gradient
    layer = read * (3 * shape.intermediate + 10 * shape.hidden) * HALF
    output = 2 * shape.vocabulary * shape.hidden * FLOAT
    without = held - shape.parameters * GRADIENT / gpus / GIGABYTE
    return Need(without + vllm_memory / 100 * memory, held + (between + layer + output) / GIGABYTE)


def sequences(shape: Shape, *, memory: float, tokens: int) -> float:
    """Responses of full length that vLLM can draw at a time on one GPU; below 1 it cannot start."""
    free = VLLM_MEMORY / 100 * memory - shape.parameters * HALF / GIGABYTE - REST / 2
    return free * GIGABYTE / (shape.cache * (PROMPT + tokens))


def table() -> list[str]:
    """The table of docs/slurm.md, lines of Markdown."""
    lines = [
        "| model | parameters | tokens | GPUs | GB of each: drawing, updating | drawn at a time by one | fits |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, shape in SHAPES.items():
        small = shape.parameters < 3e9
        for memory, counts in ((80, (1,) if small else (4, 8)), (141, () if small else (4,))):
            for gpus in counts:
                tokens = 6144 if small else 20_480
                found = need(shape, gpus=gpus, memory=memory, tokens=tokens)
                at_a_time = sequences(shape, memory=memory, tokens=tokens)
                lines.append(
                    f"| {name} | {shape.parameters / GIGABYTE:.2f} B | {tokens:,} | {gpus} x {memory} GB | "
                    f"{found.drawing:.0f}, {found.updating:.0f} | {at_a_time:.0f} | "
                    f"{'yes' if found.fits(memory) and at_a_time >= 1 else 'no'} |"
                )
    return lines
