"""D_ug and D_sg with one thing changed: what is it that fine-tuning on guided responses takes away?

The responses are those of the two sets; `selfdistill.microcosm.edits` takes them apart. What is not written as the
microcosm's reasoner writes is left out of every edited set alike.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import pandas as pd

from selfdistill.errors import UserError, one_of
from selfdistill.microcosm import edits, scanner, world
from selfdistill.microcosm.edits import Clues, Response
from selfdistill.microcosm.scanner import Scans
from selfdistill.tables import COUNT_MODES
from selfdistill.training.sft_sets import GUIDED, UNGUIDED

Written = Response | Scans  # in the standard world, in the carrier world
Edit = Callable[[Any, Clues], Written]


def _without_markers(response: Written, clues: Clues) -> Written:
    if isinstance(response, Scans):
        return Scans(scanner.without_markers(response.text))
    return edits.without_markers(response, clues)


KEPT = "kept"  # nothing is changed
MATCHED = "_matched"  # ends the name of a set whose responses are repeated until it has the tokens of `KEPT`
REMOVALS: dict[str, Edit] = {
    "search": edits.without_search,
    "markers": _without_markers,
    "verification": edits.without_verification,
}
# Of D_ug: every combination of what is removed, `kept` first.
FACTORIAL: dict[str, tuple[str, ...]] = {
    "_".join(["no", *removed]) if removed else KEPT: removed
    for number in range(len(REMOVALS) + 1)
    for removed in combinations(REMOVALS, number)
}
# Of D_sg: its last attempts verified; its attempts worded as D_ug's are where they stand, or as often and anywhere.
ON_GUIDED = ("guided_verified", "guided_hedged", "guided_hedged_anywhere")
EDITED = (*FACTORIAL, *ON_GUIDED)
_SHORTER = (*(name for name, removed in FACTORIAL.items() if "search" in removed), *ON_GUIDED)
NAMES = (*EDITED, *(f"{name}{MATCHED}" for name in _SHORTER))
# By world of the microcosm (`pretraining.world`): a scan of the carrier world has no search or verification of its own.
OF_WORLD = {"standard": NAMES, "carrier": (KEPT, "no_markers")}


def source_of(name: str) -> str:
    """The set that an edited one is made from, D_ug or D_sg; any other set's own name."""
    if name not in NAMES:
        return name
    return GUIDED if name.removesuffix(MATCHED) in ON_GUIDED else UNGUIDED


def edited_set(unguided: pd.DataFrame, guided: pd.DataFrame, name: str, *, seed: int) -> pd.DataFrame:
    """The set called ``name``, of `NAMES`, made from D_ug and D_sg; all three in the `sft_examples` schema.

    ``seed``: of the wordings drawn. `UserError` for another name, and where no response of D_ug, or of what is edited,
    is written as the microcosm's reasoner writes.
    """
    one_of("edited set", name, NAMES)
    own = _taken_apart(unguided, UNGUIDED)
    if name.endswith(MATCHED):
        tokens = int(_written(unguided, own, _edit(KEPT))["response_tokens"].sum())
        return _repeated(edited_set(unguided, guided, name.removesuffix(MATCHED), seed=seed), tokens)
    if source_of(name) == UNGUIDED:
        return _written(unguided, own, _edit(name))
    wordings = edits.Wordings(each for each in own.values() if isinstance(each[0], Response))
    edit = _edit(name, wordings, random.Random(f"{seed}:{name}"))
    return _written(guided, _taken_apart(guided, GUIDED), edit)


def _taken_apart(examples: pd.DataFrame, name: str) -> dict[int, tuple[Written, Clues]]:
    """By row of ``examples``, its response and its problem's clues."""
    found = {}
    for row, (prompt, completion) in enumerate(zip(examples["prompt"], examples["completion"], strict=True)):
        clues, text = world.parsed(prompt[0]["content"]), completion[0]["content"]
        response = edits.parsed(text) or scanner.parsed(text)
        if clues is not None and response is not None:
            found[row] = response, clues
    if not found:
        raise UserError(
            f"no response of the set '{name}' is written as the microcosm's reasoner writes: none can be edited"
        )
    return found


def _edit(name: str, wordings: edits.Wordings | None = None, rng: random.Random | None = None) -> Edit:
    """What makes the set called ``name``; ``wordings`` and ``rng``: where attempts are worded anew."""
    if name in FACTORIAL:
        return partial(_without, FACTORIAL[name])
    if wordings is None or rng is None or name == "guided_verified":
        return edits.with_verification
    return partial(wordings.given if name == "guided_hedged" else wordings.at_random, rng=rng)


def _without(removed: Sequence[str], response: Written, clues: Clues) -> Written:
    for what in removed:
        response = REMOVALS[what](response, clues)
    return response


def _written(examples: pd.DataFrame, responses: Mapping[int, tuple[Written, Clues]], edit: Edit) -> pd.DataFrame:
    """The rows of ``examples`` that could be taken apart, edited, with new counts of tokens and markers."""
    from selfdistill.markers.counting import count_table
    from selfdistill.microcosm.tokenizer import build_tokenizer

    before = [response.text for response, _ in responses.values()]
    after = [edit(response, clues).text for response, clues in responses.values()]
    tokenizer = build_tokenizer()
    lengths = [len(ids) for ids in tokenizer([*before, *after])["input_ids"]]
    change = [new - old for old, new in zip(lengths[: len(before)], lengths[len(before) :], strict=True)]
    edited = examples.iloc[list(responses)].reset_index(drop=True)
    edited["completion"] = [[{"role": "assistant", "content": text}] for text in after]
    edited["response_tokens"] = (edited["response_tokens"] + change).astype("int32")
    for mode in COUNT_MODES:
        edited[f"E_{mode}"] = count_table(after, mode).sum(axis=1).to_numpy(dtype="int32")
    return edited


def _repeated(examples: pd.DataFrame, tokens: int) -> pd.DataFrame:
    """``examples``, from the first on again and again, until they have so many response tokens; or as many of them."""
    times = -(-tokens // max(1, int(examples["response_tokens"].sum())))
    several = pd.concat([examples] * times, ignore_index=True)
    enough = int((several["response_tokens"].cumsum() < tokens).sum()) + 1
    return several.iloc[:enough]
