"""Section 4's data sets: D_ug (unguided) and D_sg (solution-guided), each of correct responses.

Both carry the *unguided* prompt, without a system turn and with the instruction once: what differs is how the
response was drawn. Both take the same number of responses from the same problems as far as there are enough (the
authors' make_sft_dataset.py takes one per problem, from problem sets that can differ). Beside them stands an
unguided set of the same size that keeps wrong responses too: keeping only correct ones is itself a training signal.
"""

from collections.abc import Mapping

import pandas as pd

from selfdistill.errors import UserError
from selfdistill.prompts import user_prompt
from selfdistill.tables import MARKER_COLUMNS, SFT_EXAMPLES

SETS = ("unguided", "guided", "unguided_unfiltered")


def build_sft_sets(
    unguided: pd.DataFrame,
    guided: pd.DataFrame,
    problems: pd.DataFrame,
    *,
    responses: int,
    at_least: int,
    per_problem: int,
    instruction: str,
) -> dict[str, pd.DataFrame]:
    """The three sets by name, in the `sft_examples` schema.

    ``unguided`` and ``guided`` are traces of the same ``problems``. From every problem come min(``per_problem``,
    correct unguided, correct guided) responses to either set, earliest samples first, until ``responses`` are
    reached; what is then missing is filled from correct responses left over, in either set by itself. Raises
    `UserError` when a set stays below ``at_least``.
    """
    right = {"unguided": unguided[unguided["correct"]], "guided": guided[guided["correct"]]}
    matched = _matched_counts(right, problems, per_problem, responses)
    chosen = {name: _fill(_take(traces, matched), traces, responses) for name, traces in right.items()}
    for name, traces in chosen.items():
        if len(traces) < at_least:
            raise UserError(
                f"the {name} set has only {len(traces)} correct responses of {problems.shape[0]} problems, "
                f"at least {at_least} are required (sft.at_least); raise sft.max_draws or selection.target"
            )
    chosen["unguided_unfiltered"] = _take(unguided, chosen["unguided"].groupby("problem_id").size())
    prompts = {
        p: user_prompt(text, instruction) for p, text in zip(problems["problem_id"], problems["problem"], strict=True)
    }
    return {name: _examples(traces, prompts) for name, traces in chosen.items()}


def _matched_counts(
    right: Mapping[str, pd.DataFrame], problems: pd.DataFrame, per_problem: int, responses: int
) -> pd.Series:
    """How many responses each problem gives to both sets alike."""
    available = pd.DataFrame({name: traces.groupby("problem_id").size() for name, traces in right.items()})
    counts = available.reindex(problems["problem_id"]).fillna(0).min(axis=1).clip(upper=per_problem).astype(int)
    room = (responses - (counts.cumsum() - counts)).clip(lower=0)
    return counts.clip(upper=room)


def _take(traces: pd.DataFrame, counts: pd.Series) -> pd.DataFrame:
    """The earliest ``counts[problem_id]`` samples of each problem."""
    ordered = traces.sort_values(["problem_id", "sample"], kind="stable")
    place = ordered.groupby("problem_id").cumcount()
    return ordered[place < ordered["problem_id"].map(counts).fillna(0)]


def _fill(taken: pd.DataFrame, traces: pd.DataFrame, responses: int) -> pd.DataFrame:
    spare = traces.drop(index=taken.index).sort_values(["sample", "problem_id"], kind="stable")
    return pd.concat([taken, spare.head(responses - len(taken))])


def _examples(traces: pd.DataFrame, prompts: Mapping[str, str]) -> pd.DataFrame:
    totals = {f"E_{mode}": traces[columns].sum(axis=1).astype("int32") for mode, columns in MARKER_COLUMNS.items()}
    frame = traces.assign(
        prompt=[[{"role": "user", "content": prompts[problem]}] for problem in traces["problem_id"]],
        completion=[[{"role": "assistant", "content": response}] for response in traces["response"]],
        **totals,
    )
    return frame[SFT_EXAMPLES.names].reset_index(drop=True)


def data_card(sets: Mapping[str, pd.DataFrame], *, study: str, model: str) -> str:
    """Markdown beside the data sets: what they hold, how they were made, how far they match."""
    lines = [
        f"# Fine-tuning sets of the {study} study, model {model}",
        "",
        "Responses drawn by the model itself to the problems that it solves in 0.125 to 0.5 of its rollouts",
        "(Section 4 of Kim et al. 2026). All sets carry the unguided prompt, one user turn without a system turn.",
        "",
        "| set | responses | problems | correct | mean tokens L | mean markers E (substring) | E (word) |",
        "|---|---|---|---|---|---|---|",
        *(_card_row(name, frame) for name, frame in sets.items()),
        "",
        f"Problems in both `unguided` and `guided`: {_shared(sets)}; responses whose problem gives a different number "
        f"to the two: {_mismatch(sets)}.",
        "",
        "- `unguided` (D_ug): correct responses drawn without context.",
        "- `guided` (D_sg): correct responses drawn with the model's own correct solution as context.",
        "- `unguided_unfiltered`: the first responses drawn without context to the problems of `unguided`, as many of",
        "  each, right or wrong.",
        "",
        "Columns: `prompt` and `completion` (message lists), `problem_id`, `sample`, `correct`, `finish_reason`,",
        "`response_tokens`, `E_substring`, `E_word`. `datasets.load_dataset('parquet', data_files=...)` reads them.",
        "The responses are model output; licence and terms follow the model and the problems' source.",
        "",
    ]
    return "\n".join(lines)


def _card_row(name: str, frame: pd.DataFrame) -> str:
    means = frame[["response_tokens", "E_substring", "E_word"]].mean()
    return (
        f"| `{name}` | {len(frame)} | {frame['problem_id'].nunique()} | {frame['correct'].mean():.0%} "
        f"| {means['response_tokens']:.1f} | {means['E_substring']:.2f} | {means['E_word']:.2f} |"
    )


def _shared(sets: Mapping[str, pd.DataFrame]) -> int:
    return len(set(sets["unguided"]["problem_id"]) & set(sets["guided"]["problem_id"]))


def _mismatch(sets: Mapping[str, pd.DataFrame]) -> int:
    counts = pd.DataFrame({name: sets[name].groupby("problem_id").size() for name in ("unguided", "guided")}).fillna(0)
    return int((counts["unguided"] - counts["guided"]).abs().sum())
