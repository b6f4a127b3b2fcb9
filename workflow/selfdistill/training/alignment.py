"""Where the gradients of GRPO and SDPO point at a base model, token by token (docs/beyond.md; ours).

The losses are those of Section 3's unguided responses, eight to a problem as in training; SDPO's teacher is shown a
right peer, as there. Whose success is asked after: that of the problems that are trained on, by the responses that
selected the problems, and that of each benchmark. Tokens are told apart as the microcosm's language does
(`selfdistill.microcosm.positions`).
"""

import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from transformers import PreTrainedModel

from selfdistill import models
from selfdistill.errors import UserError
from selfdistill.generation.sampler import Sampler
from selfdistill.microcosm.positions import Kind, kinds
from selfdistill.prompts import user_prompt
from selfdistill.training.demonstrations import choose_demonstrations, teacher_prompt
from selfdistill.training.directions import Direction, Distilled, Loss, Responses, Tokens, gains, success_gradient
from selfdistill.training.likelihoods import response_tokens
from selfdistill.training.methods import ALIGNED, GRPO
from selfdistill.training.settings import TRAINED, SdpoSettings

LOG = logging.getLogger(__name__)
Graded = tuple[pd.DataFrame, pd.DataFrame]  # traces, and the problems that they answer


def measured(
    own: Graded,
    selection: Graded,
    benchmarks: Sequence[Graded],
    *,
    sampler: Sampler,
    settings: SdpoSettings,
    top_k: int,
) -> pd.DataFrame:
    """Rows of the `alignment` schema: for each of `ALIGNED` and each success, the gain of each response's places.

    ``own``: the unguided responses, equally many to each problem; ``selection``: those that selected the problems. All
    are the responses of ``sampler``'s model.
    """
    model = models.load_model(sampler.model, dtype="float32").eval()
    asked = {TRAINED: selection, **{str(traces["setting"].iloc[0]): (traces, of) for traces, of in benchmarks}}
    towards = _towards(model, {name: _responses(graded, sampler) for name, graded in asked.items()})
    model.set_attn_implementation("eager")  # torch's own cannot be differentiated forwards
    responses = _responses(own, sampler)
    kinds_of = [kinds(sampler.tokenizer.convert_ids_to_tokens(list(tokens))) for tokens in responses.tokens]
    losses = {
        (method, context): None
        if method == GRPO
        else _distilled(responses.rows, own[1], context, sampler, settings, top_k)
        for method, context in ALIGNED
    }
    found = gains(model, responses, losses, towards)
    for method, context in sorted(losses.keys() - found.keys()):
        what = f"{method} {context}".strip()
        LOG.warning("the loss of %s has no gradient at '%s'; left out", what, sampler.model_name)
    if not towards or not found:
        raise UserError(f"no gradient of '{sampler.model_name}' is known: its responses are all right, or all wrong")
    parts = [
        _rows(responses, kinds_of, per_token).assign(method=method, context=context, gradient_length=length)
        for (method, context), (per_token, length) in found.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _towards(model: PreTrainedModel, graded: Mapping[str, Responses]) -> dict[str, Direction]:
    """What can be measured: a benchmark that the model always or never solves is left out, and said."""
    found = {}
    for name, responses in graded.items():
        try:
            found[name] = success_gradient(model, responses, name)
        except UserError as error:
            LOG.warning("%s; left out", error)
    return found


def _responses(graded: Graded, sampler: Sampler) -> Responses:
    traces, problems = graded
    rows = traces.sort_values(["problem_id", "sample"], kind="stable", ignore_index=True)
    asked = problems[problems["problem_id"].isin(rows["problem_id"])]
    prompts = {prompt.problem_id: tuple(prompt.token_ids) for prompt in sampler.prompts(asked)}
    tokens = [
        response_tokens(sampler.tokenizer, response, reason)
        for response, reason in zip(rows["response"], rows["finish_reason"], strict=True)
    ]
    return Responses(rows, [prompts[problem] for problem in rows["problem_id"]], tokens)


def _distilled(
    rows: pd.DataFrame, problems: pd.DataFrame, context: str, sampler: Sampler, settings: SdpoSettings, top_k: int
) -> Loss:
    """SDPO's loss on the responses ``rows``: the teacher of each is shown a right peer."""
    chosen = choose_demonstrations(
        rows["correct"].astype(float).tolist(),
        rows["problem_id"].tolist(),
        context=context,
        group_size=int(rows.groupby("problem_id").size().max()),
        threshold=settings.success_threshold,
        choice=settings.demonstration,
        rng=random.Random(f"{sampler.seed}:alignment"),
    )
    texts = problems.set_index("problem_id")["problem"]
    asked = [user_prompt(texts[problem], sampler.instruction) for problem in rows["problem_id"]]
    prompts = [
        None if shown is None else _shown(asked[number], rows["response"][shown], context, sampler, settings)
        for number, shown in enumerate(chosen)
    ]
    return Distilled(prompts, settings, top_k)


def _shown(asked: str, demonstration: str, context: str, sampler: Sampler, settings: SdpoSettings) -> Tokens:
    return teacher_prompt(
        sampler.tokenizer,
        asked,
        demonstration,
        without_thinking=context == "solution_without_thinking",
        opened=sampler.opened,
        max_tokens=settings.max_teacher_tokens,
        enable_thinking=sampler.enable_thinking,
        system=sampler.system,
    ).token_ids


def _rows(
    responses: Responses, kinds_of: Sequence[Sequence[int]], per_token: Mapping[str, list[list[float]]]
) -> pd.DataFrame:
    """The gains of one loss, by response and kind of place."""
    own = responses.rows[["model", "problem_id", "sample", "correct"]].to_dict("records")
    rows: list[dict[str, Any]] = [
        {
            **row,
            "benchmark": benchmark,
            "place": kind.name.lower(),
            "tokens": list(there).count(kind),
            "gain": sum(gain for gain, place in zip(found, there, strict=True) if place == kind),
        }
        for benchmark, by_response in per_token.items()
        for row, there, found in zip(own, kinds_of, by_response, strict=True)
        for kind in Kind
    ]
    return pd.DataFrame(rows)
