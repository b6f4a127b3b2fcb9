"""D_ug and D_sg with one thing changed: what is it that fine-tuning on guided responses takes away?

The responses are those of the two sets; `selfdistill.microcosm.edits` takes them apart. What is not written as the
microcosm's reasoner writes is left out of every edited set alike.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations

import pandas as pd

from selfdistill.errors import UserError, one_of
from selfdistill.microcosm import edits, scanner, world
from selfdistill.microcosm.edits import Clues, Response
from selfdistill.tables import COUNT_MODES
from selfdistill.training.sft_sets import GUIDED, UNGUIDED

Edit = Callable[[Response, Clues], Response]

KEPT = "kept"  # nothing is changed
MATCHED = "_matched"  # ends the name of a set whose responses are repeated until it has the tokens of `KEPT`
REMOVALS: dict[str, Edit] = {
    "search": edits.without_search,
    "markers": edits.without_markers,
    "verification": edits.without_verification,
}
# Of D_ug: every combination of what is removed, `kept` first.
FACTORIAL: dict[str, tuple[str, ...]] = {
    "_".join(["no", *removed]) if removed else KEPT: removed
    for number in range(len(REMOVALS) + 1)
    for removed in combinations(REMOVALS, number)
}
# Of D_sg: its last attempts verified, by all facts or by those that the model was taught; its attempts worded as D_ug's
# are where they stand, or as often and anywhere.
ON_GUIDED = ("guided_verified", "guided_hedged", "guided_hedged_anywhere", "guided_verified_known")
EDITED = (*FACTORIAL, *ON_GUIDED)
# Matched sets are made of these, not of the last of `ON_GUIDED`, which is set against D_sg alone.
_SHORTER = (*(name for name, removed in FACTORIAL.items() if "search" in removed), *ON_GUIDED[:-1])
STANDARD = "standard"  # the world whose responses are attempts
# What can be made in the world whose markers carry (`selfdistill.microcosm.scanner`): D_ug, whole and without markers.
OF_CARRIER: dict[str, Callable[[str], str]] = {KEPT: str, "no_markers": scanner.without_markers}
NAMES = (*EDITED, *(f"{name}{MATCHED}" for name in _SHORTER))


def source_of(name: str) -> str:
    """The set that an edited one is made from, D_ug or D_sg; any other set's own name."""
    if name not in NAMES:
        return name
    return GUIDED if name.removesuffix(MATCHED) in ON_GUIDED else UNGUIDED


def names_of(kind: str) -> tuple[str, ...]:
    """The sets that can be made in a world, a key of `documents.WORLDS`."""
    return NAMES if kind == STANDARD else tuple(OF_CARRIER)


def edited_set(
    unguided: pd.DataFrame, guided: pd.DataFrame, name: str, *, seed: int, kind: str = STANDARD
) -> pd.DataFrame:
    """The set called ``name``, made from D_ug and D_sg; all three in the `sft_examples` schema.

    ``seed``: of the wordings drawn; ``kind``: the world. `UserError` for a name that is none of `names_of` it, and
    where no response of D_ug, or of what is edited, is written as the microcosm's reasoner writes.
    """
    one_of(f"edited set of the {kind} world", name, names_of(kind))
    if kind != STANDARD:
        texts = {row: text for row, text in enumerate(_texts(unguided)) if scanner.is_written(text)}
        return _written(unguided, list(texts), [OF_CARRIER[name](text) for text in texts.values()])
    if name.endswith(MATCHED):
        tokens = edited_set(unguided, guided, KEPT, seed=seed)["response_tokens"].sum()
        return _repeated(edited_set(unguided, guided, name.removesuffix(MATCHED), seed=seed), int(tokens))
    own = _taken_apart(unguided, UNGUIDED)
    if name in FACTORIAL:
        return _edited(unguided, own, partial(_without, FACTORIAL[name]))
    wordings, rng = edits.Wordings(own.values()), random.Random(f"{seed}:{name}")
    of_guided: dict[str, Edit] = {
        "guided_verified": edits.with_verification,
        "guided_verified_known": edits.with_known_verification,
        "guided_hedged": partial(wordings.given, rng=rng),
        "guided_hedged_anywhere": partial(wordings.at_random, rng=rng),
    }
    return _edited(guided, _taken_apart(guided, GUIDED), of_guided[name])


def _texts(examples: pd.DataFrame) -> list[str]:
    return [turns[0]["content"] for turns in examples["completion"]]


def _taken_apart(examples: pd.DataFrame, name: str) -> dict[int, tuple[Response, Clues]]:
    """By row of ``examples``, its response and its problem's clues."""
    found = {}
    for row, (prompt, text) in enumerate(zip(examples["prompt"], _texts(examples), strict=True)):
        clues, response = world.parsed(prompt[0]["content"]), edits.parsed(text)
        if clues is not None and response is not None:
            found[row] = response, clues
    if not found:
        raise UserError(
            f"no response of the set '{name}' is written as the microcosm's reasoner writes: none can be edited"
        )
    return found


def _without(removed: Sequence[str], response: Response, clues: Clues) -> Response:
    for what in removed:
        response = REMOVALS[what](response, clues)
    return response


def _edited(examples: pd.DataFrame, responses: Mapping[int, tuple[Response, Clues]], edit: Edit) -> pd.DataFrame:
    """The rows of ``examples`` that could be taken apart, edited."""
    return _written(examples, list(responses), [edit(response, clues).text for response, clues in responses.values()])


def _written(examples: pd.DataFrame, rows: Sequence[int], texts: Sequence[str]) -> pd.DataFrame:
    """These rows of ``examples`` with ``texts`` as their responses, and new counts of tokens and markers."""
    from selfdistill.markers.counting import count_table
    from selfdistill.microcosm.tokenizer import build_tokenizer

    edited = examples.iloc[list(rows)].reset_index(drop=True)
    lengths = [len(ids) for ids in build_tokenizer()([*_texts(edited), *texts])["input_ids"]]
    change = [new - old for old, new in zip(lengths[: len(rows)], lengths[len(rows) :], strict=True)]
    edited["completion"] = [[{"role": "assistant", "content": text}] for text in texts]
    edited["response_tokens"] = (edited["response_tokens"] + change).astype("int32")
    for mode in COUNT_MODES:
        edited[f"E_{mode}"] = count_table(texts, mode).sum(axis=1).to_numpy(dtype="int32")
    return edited


def _repeated(examples: pd.DataFrame, tokens: int) -> pd.DataFrame:
    """``examples``, from the first on again and again, until they have so many response tokens; or as many of them."""
    times = -(-tokens // max(1, int(examples["response_tokens"].sum())))
    several = pd.concat([examples] * times, ignore_index=True)
    enough = int((several["response_tokens"].cumsum() < tokens).sum()) + 1
    return several.iloc[:enough]
