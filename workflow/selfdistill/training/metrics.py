"""What a trainer reports: one table row per step and metric, and a progress bar."""

from collections.abc import Iterable, Mapping

import pandas as pd
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from selfdistill.tables import COUNT_MODES, MARKER_COLUMNS
from selfdistill.training.updates import SKIPPED

# Of an on-policy step, by any method; a method's own are its `Method.metrics`. score, L, E and the markers: means over
# rollouts; entropy (nats): a mean over tokens; rollout_ratio: the mean truncated importance weight, and the share of
# tokens whose weight was truncated.
ON_POLICY_METRICS = (
    "loss",
    "learning_rate",
    "grad_norm",
    SKIPPED,
    "entropy",
    "score",
    "L",
    "truncated",
    *(f"E_{mode}" for mode in COUNT_MODES),
    *(column for mode in COUNT_MODES for column in MARKER_COLUMNS[mode]),
    "all_fail",
    "lone_success",
    "all_success",
    "with_demonstration",
    "rollout_ratio",
    "rollout_ratio_truncated",
    "num_tokens",
)
SECONDS = "seconds/"
TOKENS_SEEN = "num_input_tokens_seen"


def step_table(history: Iterable[Mapping[str, float]], metrics: Iterable[str], **labels: str) -> pd.DataFrame:
    """A trainer's ``log_history`` as rows of the `training_steps` schema; ``labels``: model and run.

    Entries that lack a loss (the summary at the end) are left out, as is whatever depends on the machine
    (seconds). The metric "tokens", prompt and response tokens of the step without padding, is added.
    """
    rows, seen = [], 0
    for entry in history:
        if "loss" not in entry:
            continue
        values = {metric: entry[metric] for metric in metrics} | {"tokens": entry[TOKENS_SEEN] - seen}
        seen = entry[TOKENS_SEEN]
        rows += [(entry["step"], metric, float(value)) for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["step", "metric", "value"]).assign(**labels)


def on_policy_tables(
    history: Iterable[Mapping[str, float]], updates_per_step: int, *, own: Iterable[str] = (), **labels: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics, and seconds by phase, of every trainer step, as rows of the `training_steps` schema.

    ``own``: metrics that only the run's method has. Seconds stand apart because they depend on the machine. A metric
    that a step does not have (the divergence of a step without demonstrations) has no row.
    """
    known = {*ON_POLICY_METRICS, *own}
    rows = [
        (entry["step"] // updates_per_step, name, float(value))
        for entry in history
        if "loss" in entry
        for name, value in entry.items()
        if name in known or name.startswith(SECONDS)
        if value is not None
    ]
    table = pd.DataFrame(rows, columns=["step", "metric", "value"]).assign(**labels)
    timed = table["metric"].str.startswith(SECONDS)
    return table[~timed], table[timed]


class ProgressCallback(TrainerCallback):
    """A bar over optimizer steps with the latest loss; transformers' own prints every log entry in full."""

    def __init__(self, description: str):
        self._description = description

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self._bar = tqdm(
            desc=self._description,
            total=state.max_steps,
            initial=state.global_step,
            unit="step",
            mininterval=1,
            disable=not state.is_world_process_zero,
        )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        **kwargs: object,
    ) -> None:
        if "loss" in logs:
            self._bar.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self._bar.update()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self._bar.close()
