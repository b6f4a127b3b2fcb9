"""What a trainer reports: one table row per step and metric, and a progress bar."""

from collections.abc import Iterable, Mapping

import pandas as pd
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

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


class ProgressCallback(TrainerCallback):
    """A bar over optimizer steps with the latest loss; transformers' own prints every log entry in full."""

    def __init__(self, description: str):
        self._description = description

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self._bar = tqdm(
            desc=self._description, total=state.max_steps, initial=state.global_step, unit="step", mininterval=1
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
