"""What a context tells of a response, by the model that wrote it: log p(y | x, c) - log p(y | x) (Section 3).

Its mean over responses y is I(y; c | x), which the paper names and does not measure. Both likelihoods are of the model
itself, at temperature 1 and over its whole vocabulary, however the response was drawn. Its tokens are those of its
text, encoded anew, and its end where it has one.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from selfdistill import models
from selfdistill.environment import made_with
from selfdistill.files import sha256_text, write_text
from selfdistill.generation.requests import Prompt
from selfdistill.training.losses import token_logps
from selfdistill.training.packing import fewest_parts, parted
from selfdistill.training.sharding import output_layer
from selfdistill.training.states import padded, response_states

Scored = tuple[tuple[int, ...], tuple[int, ...]]  # token ids of a prompt, and of the response to it
BLOCK = 512  # responses that are read and kept together: what a kill can cost
TOKENS = 2**15  # of sequences that are read side by side


def likelihoods(
    traces: pd.DataFrame, given: Sequence[Prompt], alone: Sequence[Prompt], *, manifest: Path, work_dir: Path
) -> pd.DataFrame:
    """One row of the `information` schema for each of ``traces``, all of one model and setting, in their order.

    ``given`` and ``alone``: each problem's prompt with and without its context. What is finished is kept below
    ``work_dir``: a killed job goes on from there, to the same numbers.
    """
    tokenizer = models.load_tokenizer(manifest)
    with_context, without = ({prompt.problem_id: prompt.token_ids for prompt in prompts} for prompts in (given, alone))
    responses = [response_tokens(tokenizer, row.response, row.finish_reason) for row in traces.itertuples(index=False)]
    pairs = [
        ((with_context[problem], response), (without[problem], response))
        for problem, response in zip(traces["problem_id"], responses, strict=True)
    ]
    found = [number for block in _blocks(pairs, manifest, work_dir) for number in block]
    frame = traces[["model", "setting", "problem_id", "sample"]].reset_index(drop=True)
    return frame.assign(
        tokens=list(map(len, responses)), given=[pair[0] for pair in found], alone=[pair[1] for pair in found]
    )


def response_tokens(tokenizer: Any, response: str, finish_reason: str) -> tuple[int, ...]:
    """The tokens of a response's text, encoded anew, and its end where it has one."""
    ending = [tokenizer.eos_token_id] if finish_reason == "stop" else []
    return (*tokenizer(response, add_special_tokens=False)["input_ids"], *ending)


def _blocks(
    pairs: Sequence[tuple[Scored, Scored]], manifest: Path, work_dir: Path
) -> Iterator[list[tuple[float, float]]]:
    """Both log-probabilities of the pairs, block by block; the model is loaded where one is missing."""
    identity = [models.fingerprint(manifest), made_with(f"{__name__}:likelihoods")]
    model = None
    with tqdm(total=len(pairs), desc="reading", unit=" responses", mininterval=2.0) as bar:
        for first in range(0, len(pairs), BLOCK):
            block = pairs[first : first + BLOCK]
            path = work_dir / f"{sha256_text(json.dumps([*identity, block]))[:24]}.json"
            found = _read(path, len(block))
            if found is None:
                model = model or _load(manifest)
                logps = sequence_logps(model, [sequence for pair in block for sequence in pair])
                found = list(zip(logps[::2], logps[1::2], strict=True))
                write_text(path, json.dumps(found))
            bar.update(len(block))
            yield found


def _read(path: Path, size: int) -> list[tuple[float, float]] | None:
    """A finished block; None where it is missing or damaged."""
    try:
        found = [(float(given), float(alone)) for given, alone in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return None
    return found if len(found) == size else None


def _load(manifest: Path) -> PreTrainedModel:
    on_gpu = torch.cuda.is_available()
    model = models.load_model(manifest, dtype="bfloat16" if on_gpu else "float32")
    return model.eval().to("cuda" if on_gpu else "cpu")


@torch.no_grad()
def sequence_logps(model: PreTrainedModel, sequences: Sequence[Scored]) -> list[float]:
    """The log-probability, in nats, of each response after its prompt; the sum is formed in double precision."""
    lengths = [len(prompt) + len(response) for prompt, response in sequences]
    found = [0.0] * len(sequences)
    weight, bias = output_layer(model)
    for part in parted(lengths, fewest_parts(lengths, TOKENS)):
        ids, visible, seen = _batch([sequences[number] for number in part], weight.device)
        states = response_states(model, ids, visible, seen.size(1))
        logps, _ = token_logps(states, weight, ids[:, -seen.size(1) :][seen], bias=bias)
        for number, total in zip(part, padded(logps.double(), seen).sum(dim=1).tolist(), strict=True):
            found[number] = total
    return found


def _batch(sequences: Sequence[Scored], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids and mask [B, P + T] of prompts (padded left) and responses (padded right), and the mask [B, T]."""
    before, after = (max(len(sequence[side]) for sequence in sequences) for side in (0, 1))
    ids = torch.zeros(len(sequences), before + after, dtype=torch.long)
    visible = torch.zeros_like(ids)
    for row, (prompt, response) in enumerate(sequences):
        places = slice(before - len(prompt), before + len(response))
        ids[row, places] = torch.tensor([*prompt, *response])
        visible[row, places] = 1
    return ids.to(device), visible.to(device), visible[:, before:].bool().to(device)
