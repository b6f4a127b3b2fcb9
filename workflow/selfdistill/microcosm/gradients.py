"""Gradients of the two fixed parts of a batch, and the updates by them, in one process or in two side by side.

Each part is computed by one thread, and the parts are added in a fixed order; each optimizer has parameters of its
own. The weights have the same bytes however many processes work on them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, multiprocessing
from torch.optim import Optimizer
from transformers import Qwen3ForCausalLM

from selfdistill.microcosm.batches import IGNORED, SHARDS, Batch
from selfdistill.microcosm.muon import Muon
from selfdistill.qwen3.forward import hidden_states
from selfdistill.qwen3.products import linear

# (phase, step, part) -> the batch; must be picklable, it is sent to the second process
MakeBatch = Callable[[str, int, int], Batch]


class Sums(NamedTuple):
    """Sums over a batch: its loss, its labels and its tokens."""

    loss: float
    labels: int
    tokens: int


class Worker:
    """One process's part of the work: the model, its optimizers and the gradients, all in memory that both share."""

    def __init__(
        self,
        model: Qwen3ForCausalLM,
        optimizers: Sequence[Optimizer],
        make_batch: MakeBatch,
        gradients: Tensor,
        mean: Tensor,
    ):
        self.model, self.optimizers, self.make_batch = model, optimizers, make_batch
        self.gradients, self.mean = gradients, mean  # [parts, P] and [P] for P parameters

    def part(self, phase: str, step: int, number: int) -> Sums:
        """Compute the gradient of the summed loss of one part."""
        self.model.zero_grad(set_to_none=True)
        batch = self.make_batch(phase, step, number)
        labelled = batch.labels != IGNORED
        states = hidden_states(self.model, batch.ids, batch.lengths)[labelled]
        loss = F.cross_entropy(linear(states, self.model.lm_head.weight), batch.labels[labelled], reduction="sum")
        loss.backward()
        torch.cat([parameter.grad.flatten() for parameter in self.model.parameters()], out=self.gradients[number])
        return Sums(loss.item(), int(labelled.sum()), batch.ids.numel())

    def combine(self, parts: Sequence[Sums], clip: float) -> Sums:
        """Turn the parts' gradients into that of the mean loss per label, of norm ``clip`` at most."""
        total = Sums(*(sum(values) for values in zip(*parts, strict=True)))
        torch.sum(self.gradients, dim=0, out=self.mean)
        self.mean.div_(total.labels)
        self.mean.mul_((clip / (self.mean.norm() + 1e-6)).clamp(max=1.0))
        return total

    def update(self, factor: float, optimizers: Sequence[Optimizer]) -> None:
        """A step of ``optimizers`` by the combined gradient, at ``factor`` times their peak rates."""
        parameters = list(self.model.parameters())
        for parameter, piece in zip(parameters, self.mean.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = piece.view_as(parameter)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * group["peak"]
            optimizer.step()


class Alone(Worker):
    """Both parts and all updates in this process."""

    def gradient(self, phase: str, step: int, clip: float) -> Sums:
        """Compute the gradient of a step; sums over its batch."""
        return self.combine([self.part(phase, step, number) for number in range(SHARDS)], clip)

    def step(self, factor: float) -> None:
        """Update all parameters by it."""
        self.update(factor, self.optimizers)


class Pair(Worker):
    """The second part, and the updates of the last optimizer, in the process behind ``helper``."""

    def __init__(self, helper: Connection, *arguments: Any):
        super().__init__(*arguments)
        self.helper = helper

    def gradient(self, phase: str, step: int, clip: float) -> Sums:
        self.helper.send(("part", phase, step, 1))
        return self.combine([self.part(phase, step, 0), self.helper.recv()], clip)

    def step(self, factor: float) -> None:
        self.helper.send(("update", factor))
        self.update(factor, self.optimizers[:-1])
        self.helper.recv()


@contextmanager
def workers_for(
    model: Qwen3ForCausalLM, optimizers: Sequence[Optimizer], make_batch: MakeBatch, workers: int
) -> Iterator[Alone | Pair]:
    """The worker for gradients and updates, in one process or two. The last of the ``optimizers`` is a Muon."""
    count = sum(parameter.numel() for parameter in model.parameters())
    memory = torch.zeros(SHARDS, count).share_memory_(), torch.zeros(count).share_memory_()
    if workers == 1:
        yield Alone(model, optimizers, make_batch, *memory)
        return
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    model.share_memory()
    _share_momentum(optimizers[-1])
    arguments = (there, model, optimizers[-1:], make_batch, *memory)
    process = context.Process(target=_serve, args=arguments, daemon=True)
    process.start()
    there.close()
    try:
        yield Pair(here, model, optimizers, make_batch, *memory)
    finally:
        here.close()
        process.join()


def _share_momentum(muon: Muon) -> None:
    """Share Muon's state: the second process writes it, and the first one saves it."""
    for group in muon.param_groups:
        for parameter in group["params"]:
            state = muon.state[parameter]
            state.setdefault("momentum_buffer", torch.zeros_like(parameter, requires_grad=False)).share_memory_()


def _serve(connection: Connection, *arguments: Any) -> None:
    """The second process: serves requests until the first one closes the pipe or dies."""
    torch.set_num_threads(1)
    worker = Worker(*arguments)
    while True:
        try:
            what, *how = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        if what == "part":
            connection.send(worker.part(*how))
        else:
            connection.send(worker.update(*how, worker.optimizers))
