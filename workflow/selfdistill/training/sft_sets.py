"""D_ug and D_sg: correct responses over the same problems, and an unfiltered unguided set of the same size (Section 4).

Both sets have the unguided prompt, one user turn with the instruction once: the authors' make_sft_dataset.py adds a
default system prompt and the instruction a second time, and keeps one response per problem.
"""

import logging
from collections.abc import Iterable, Mapping

import pandas as pd
from pydantic import model_validator

from selfdistill.errors import UserError
from selfdistill.prompts import user_prompt
from selfdistill.settings import Count, key, settings
from selfdistill.tables import COUNT_MODES, MARKER_COLUMNS, SFT_EXAMPLES

LOG = logging.getLogger(__name__)

SETS = UNGUIDED, GUIDED, UNFILTERED = "unguided", "guided", "unguided_unfiltered"
Counts = dict[str, int]  # responses per problem_id, in the problems' order


@settings
class Collection:
    """How correct responses are collected."""

    per_problem: Count = key(8, doc="Correct responses wanted of each problem.", paper="100 problems x 8 = 800")
    max_draws: Count = key(64, doc="Most responses sampled per problem in search of correct ones.")


@settings
class SetSizes:
    """How large a data set is."""

    responses: Count = key(800, doc="Correct responses in each data set.", paper="800 (Section 4)")
    at_least: Count = key(800, doc="Fewest responses to accept when a model solves too few.")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "SetSizes":
        if self.at_least > self.responses:
            raise ValueError(f"'at_least' ({self.at_least}) is above 'responses' ({self.responses})")
        return self


def build_sft_sets(
    unguided_traces: pd.DataFrame,
    guided_traces: pd.DataFrame,
    problems: pd.DataFrame,
    *,
    instruction: str,
    sizes: SetSizes,
    per_problem: int,
    only_correct: bool = True,
) -> dict[str, pd.DataFrame]:
    """The sets "unguided" (D_ug), "guided" (D_sg) and "unguided_unfiltered", in the `sft_examples` schema.

    Each problem gives its first correct responses, in sample order. Both sets take the same number from a problem,
    evenly over the problems in their order: first up to ``per_problem``, then as many as both have. Only then does each
    set fill up from its own spare responses. The unfiltered set takes as many responses of each problem as
    D_ug, the first ones whether correct or not. Without ``only_correct``, wrong responses count as correct ones.

    Raises `UserError` if a trace has no problem, a sample occurs twice, or there are too few correct responses.
    """
    tables = {
        UNGUIDED: _ordered(unguided_traces, problems, UNGUIDED),
        GUIDED: _ordered(guided_traces, problems, GUIDED),
    }
    correct = {name: table[table["correct"].astype(bool) | (not only_correct)] for name, table in tables.items()}
    available = {name: _count(table, problems) for name, table in correct.items()}
    size = _size(available, sizes)
    counts = _share_out(available, size, per_problem)
    chosen = {
        UNGUIDED: _take(correct[UNGUIDED], counts[UNGUIDED]),
        GUIDED: _take(correct[GUIDED], counts[GUIDED]),
        UNFILTERED: _take(tables[UNGUIDED], counts[UNGUIDED]),
    }
    texts = problems.set_index("problem_id")["problem"]
    sets = {name: _examples(rows, texts, instruction) for name, rows in chosen.items()}
    unmatched = describe_match(sets)["unmatched"]
    LOG.info("%d responses in each SFT set (%d wanted), %d not matched by problem", size, sizes.responses, unmatched)
    return sets


def _ordered(traces: pd.DataFrame, problems: pd.DataFrame, name: str) -> pd.DataFrame:
    """``traces`` in sample order; `UserError` unless they hold each sample of these problems once."""
    strange = set(traces["problem_id"]) - set(problems["problem_id"])
    if strange:
        raise UserError(f"the {name} traces answer problem '{min(strange)}', which the problems table does not have")
    twice = traces[traces.duplicated(["problem_id", "sample"])]
    if len(twice):
        problem, sample = twice.iloc[0][["problem_id", "sample"]]
        raise UserError(
            f"the {name} traces hold sample {sample} of problem '{problem}' twice: do they come from more than one run?"
        )
    return traces.sort_values(["problem_id", "sample"], kind="stable", ignore_index=True)


def _count(traces: pd.DataFrame, problems: pd.DataFrame) -> Counts:
    found = traces["problem_id"].value_counts()
    return {problem: int(found.get(problem, 0)) for problem in problems["problem_id"]}


def _size(available: Mapping[str, Counts], sizes: SetSizes) -> int:
    totals = {name: sum(counts.values()) for name, counts in available.items()}
    size = min(sizes.responses, *totals.values())
    if size < sizes.at_least:
        lacking = " and ".join(f"{totals[name]} {name}" for name in totals if totals[name] < sizes.at_least)
        raise UserError(
            f"only {lacking} correct responses exist to {len(available[UNGUIDED])} problems, {sizes.at_least} are "
            "needed: raise sft.per_problem and sft.max_draws, or lower sft.at_least"
        )
    return size


def _share_out(available: Mapping[str, Counts], size: int, per_problem: int) -> dict[str, Counts]:
    """How many responses each set takes from each problem; ``size`` in all, matched as far as possible."""
    both = {problem: min(available[name][problem] for name in available) for problem in available[UNGUIDED]}
    matched = _fill(dict.fromkeys(both, 0), {problem: min(n, per_problem) for problem, n in both.items()}, size)
    matched = _fill(matched, both, size)
    return {name: _fill(matched, ceiling, size) for name, ceiling in available.items()}


def _fill(counts: Counts, ceiling: Counts, size: int) -> Counts:
    """``counts`` raised to a total of ``size``, or to ``ceiling``: the lowest first, one response a problem in turn."""
    raised, missing = dict(counts), size - sum(counts.values())
    for level in range(1, max(ceiling.values(), default=0) + 1):
        for problem in raised:
            if missing > 0 and raised[problem] < level <= ceiling[problem]:
                raised[problem], missing = level, missing - 1
    return raised


def _take(traces: pd.DataFrame, counts: Counts) -> pd.DataFrame:
    """The first ``counts[problem]`` rows of each problem."""
    place = traces.groupby("problem_id").cumcount()
    return traces[place < traces["problem_id"].map(counts)]


def _examples(traces: pd.DataFrame, texts: pd.Series, instruction: str) -> pd.DataFrame:
    frame = traces[["problem_id", "sample", "correct", "finish_reason", "response_tokens"]].reset_index(drop=True)
    prompts = [user_prompt(texts[problem], instruction) for problem in frame["problem_id"]]
    frame["prompt"] = [[{"role": "user", "content": prompt}] for prompt in prompts]
    frame["completion"] = [[{"role": "assistant", "content": response}] for response in traces["response"]]
    for mode in COUNT_MODES:
        frame[f"E_{mode}"] = traces[MARKER_COLUMNS[mode]].sum(axis=1).astype("int32").to_numpy()
    return frame[SFT_EXAMPLES.columns]


def describe_match(sets: Mapping[str, pd.DataFrame]) -> dict[str, int]:
    """How far D_ug and D_sg match: their ``size``, ``shared_problems``, and in each the ``unmatched`` responses."""
    taken = pd.DataFrame({name: sets[name]["problem_id"].value_counts() for name in (UNGUIDED, GUIDED)}).fillna(0)
    fewer = taken.min(axis=1)
    size = len(sets[UNGUIDED])
    return {"size": size, "shared_problems": int((fewer > 0).sum()), "unmatched": size - int(fewer.sum())}


def describe_set(examples: pd.DataFrame) -> dict[str, float]:
    """Counts of one set, and the means over its examples of L (tokens) and E (markers)."""
    return {
        "responses": len(examples),
        "problems": examples["problem_id"].nunique(),
        "correct": int(examples["correct"].sum()),
        "distinct": len({turns[0]["content"] for turns in examples["completion"]}),
        "cut": int((examples["finish_reason"] == "length").sum()),
        "L": float(examples["response_tokens"].mean()),
        **{f"E_{mode}": float(examples[f"E_{mode}"].mean()) for mode in COUNT_MODES},
    }


_CARD = """---
configs:
{configs}
---
# Supervised fine-tuning sets of {model} ({study})

Responses of the model itself, for off-policy self-distillation as in Section 4 of "Why Does Self-Distillation
(Sometimes) Degrade the Reasoning Capability of LLMs?" (arXiv 2603.24472). One is loaded by
`datasets.load_dataset(folder, "unguided", split="train")`.

## The sets

- `unguided` (D_ug): correct responses to the problem alone.
- `guided` (D_sg): correct responses to the problem with a correct solution shown, which the prompt stored here lacks.
- `unguided_unfiltered`: as many responses to the same problems as in `unguided`, the first ones drawn, correct or not.

{table}

L is the mean length in tokens and E the mean number of epistemic markers, both over the responses of a set;
"distinct" counts different texts, "cut" the responses that ended at the token limit.

## How they were made

The problems are those that the model solves in some of its rollouts (Section 3). Each gives its first correct
responses, in the order of sampling, and the same number to both sets where both have enough. Problems in both sets:
{shared_problems}. Responses of each set without a counterpart to the same problem in the other: {unmatched} of {size}.

A prompt is one user turn: the problem and, where the model has one, the instruction, once. No system turn is added.

## Columns

`prompt` and `completion` (lists of messages with `role` and `content`), `problem_id` (16 hexadecimal digits of the
SHA-256 of the normalised problem), `sample` (number of the response within its draw), `correct`, `finish_reason`
("stop", or "length" for a response cut at its limit, which must not be taught to end there), `response_tokens`,
`E_substring` and `E_word` (markers counted as substrings, as the authors do, and as whole words).

## Limits

The responses are one model's samples, checked by their final answer only: a correct answer can stand on wrong
reasoning. Problems that the model never solved are not there. Chat templates that drop the thinking of
assistant turns (DeepSeek's does) must not be used to render `completion`.

## Origin and licence

{origin}Problem texts keep the licence of their source (docs/data.md); the responses fall under the licence of the
model that wrote them.
"""


def data_card(sets: Mapping[str, pd.DataFrame], *, study: str, model: str, sources: Iterable[str] = ()) -> str:
    """The Markdown data card of the sets, for a README.md beside ``{set}.parquet``.

    sources: the `problems` column ``source``.
    """
    names = ", ".join(sorted(set(sources)))
    return _CARD.format(
        configs="\n".join(f"- config_name: {name}\n  data_files: {name}.parquet" for name in sets),
        table=_table(sets),
        origin=f"Problems: {names}. " if names else "",
        study=study,
        model=model,
        **describe_match(sets),
    )


def _table(sets: Mapping[str, pd.DataFrame]) -> str:
    lines = [
        "| set | responses | problems | correct | distinct | cut | L | E (substring) | E (word) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, examples in sets.items():
        described = describe_set(examples)
        whole = " | ".join(str(described[key]) for key in ("responses", "problems", "correct", "distinct", "cut"))
        means = f"{described['L']:.1f} | {described['E_substring']:.2f} | {described['E_word']:.2f}"
        lines.append(f"| `{name}` | {whole} | {means} |")
    return "\n".join(lines)
