"""Gradients of the two fixed parts of a batch, computed by one process or by two side by side.

Each part is computed by one thread, and the parts are added in a fixed order: the sum has the same bytes however
many processes work on it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, multiprocessing, nn
from transformers import Qwen3ForCausalLM

from selfdistill.microcosm.batches import IGNORED, SHARDS, Batch
from selfdistill.qwen3.forward import hidden_states

# (phase, step, part) -> the batch; must be picklable, it is sent to the second process
DrawBatch = Callable[[str, int, int], Batch]


class Sums(NamedTuple):
    """Sums over a batch: its loss, its labels and its tokens."""

    loss: float
    labels: int
    tokens: int


# (phase, step) -> sums; leaves the gradient of the mean loss in the parameters
ComputeGradient = Callable[[str, int], Sums]


@contextmanager
def gradient_workers(model: Qwen3ForCausalLM, draw: DrawBatch, workers: int) -> Iterator[ComputeGradient]:
    """A function that sets ``model``'s gradients, with one or two processes behind it."""
    buffers = [_flat_gradient(model).share_memory_() for _ in range(SHARDS)]
    if workers == 1:
        yield lambda phase, step: _combine(
            model,
            buffers,
            [_sum_gradient(model, buffers[i], draw(phase, step, i)) for i in range(SHARDS)],
        )
        return
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    helper = context.Process(target=_serve, args=(there, model.share_memory(), buffers[1], draw), daemon=True)
    helper.start()
    there.close()

    def compute(phase: str, step: int) -> Sums:
        here.send((phase, step))
        first = _sum_gradient(model, buffers[0], draw(phase, step, 0))
        return _combine(model, buffers, [first, here.recv()])

    try:
        yield compute
    finally:
        here.close()
        helper.join()


def _serve(connection: Connection, model: Qwen3ForCausalLM, buffer: Tensor, draw: DrawBatch) -> None:
    """The second process: answers requests for part 1 until the first process closes the pipe or dies."""
    torch.set_num_threads(1)
    while True:
        try:
            phase, step = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        connection.send(_sum_gradient(model, buffer, draw(phase, step, 1)))


def _sum_gradient(model: Qwen3ForCausalLM, buffer: Tensor, batch: Batch) -> Sums:
    """Write the gradient of the summed loss of ``batch`` to ``buffer``."""
    model.zero_grad(set_to_none=True)
    labelled = batch.labels != IGNORED
    states = hidden_states(model, batch.ids, batch.lengths)[labelled]
    loss = F.cross_entropy(model.lm_head(states), batch.labels[labelled], reduction="sum")
    loss.backward()
    torch.cat([parameter.grad.flatten() for parameter in model.parameters()], out=buffer)
    return Sums(loss.item(), int(labelled.sum()), batch.ids.numel())


def _combine(model: nn.Module, buffers: list[Tensor], parts: list[Sums]) -> Sums:
    """Set the gradient to that of the mean loss per label over all parts."""
    total = Sums(*(sum(values) for values in zip(*parts, strict=True)))
    mean = torch.stack(buffers).sum(0) / total.labels
    parameters = list(model.parameters())
    for parameter, piece in zip(parameters, mean.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = piece.view_as(parameter)
    return total


def _flat_gradient(model: nn.Module) -> Tensor:
    return torch.zeros(sum(parameter.numel() for parameter in model.parameters()))
