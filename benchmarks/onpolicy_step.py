"""Seconds per on-policy step by phase, against TRL's stock GRPOTrainer and SDPOTrainer on the same model and prompts.

    python benchmarks/onpolicy_step.py --model MANIFEST --problems PARQUET [--steps 5] [--out FILE.json]

One process, one thread, one trainer after the other: 8 prompts x 8 rollouts in two updates, up to 400 tokens; the
first step of each is left out. Stock trainers sample with HF generate. Rollouts differ between implementations, so
seconds per 1,000 response tokens stand beside seconds per step, and the ratio is theirs.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from datasets import Dataset
from selfdistill import models, tables
from selfdistill.generation import Sampling
from selfdistill.grading import extract_answer, grade_many
from selfdistill.prompts import sdpo_reprompt
from selfdistill.training.onpolicy import train_onpolicy
from selfdistill.training.settings import Arm, OnPolicySettings
from selfdistill.training.trainer import trainer_arguments
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOTrainer
from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

SAMPLING = Sampling(temperature=1.0, max_tokens=400)
ARMS = {
    "grpo": Arm("grpo", 3e-4),
    "sdpo": Arm("sdpo", 3e-4, context="solution"),
}
# TRL's default wording has other newlines; {prompt} and the like are its own fields.
TEMPLATES = {
    "reprompt_template": "{prompt}{solution}{feedback}\n\nCorrectly solve the original question.",
    "solution_template": sdpo_reprompt("", "{successful_previous_attempt}").removesuffix(
        "\n\nCorrectly solve the original question."
    ),
}


def settings(steps: int) -> OnPolicySettings:
    return OnPolicySettings(
        checkpoint_steps=[steps], steps=steps, batch_size=8, rollouts=8, micro_batch_size=16, warmup_steps=1
    )


def ours(method: str, manifest: Path, problems: pd.DataFrame, steps: int, folder: Path) -> pd.DataFrame:
    """Seconds of each step by phase, and its response tokens."""
    _, seconds, rollouts = train_onpolicy(
        problems, manifest=manifest, study="benchmark", model_name="model", run=method, arm=ARMS[method],
        settings=settings(steps), sampling=SAMPLING, instruction="", enable_thinking=None, seed=0,
        out_dir=folder / "models", work_dir=folder / "work", mirrors=[], checkpoint_seconds=1e9,
    )  # fmt: skip
    frame = seconds.pivot(index="step", columns="metric", values="value").rename(columns=lambda name: name[8:])
    frame["step"] = frame.sum(axis=1)
    return frame.assign(tokens=rollouts.groupby("step")["response_tokens"].sum())


class Clock(TrainerCallback):
    """When each optimizer step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, *args: object, **kwargs: object) -> None:
        self.times.append(time.perf_counter())

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        self.times.append(time.perf_counter())


def stock(method: str, manifest: Path, problems: pd.DataFrame, steps: int, folder: Path) -> pd.DataFrame:
    """The same for TRL's own trainer of the method; it does not tell phases apart."""
    shared = settings(steps)
    arguments = trainer_arguments(ARMS[method], shared, SAMPLING, directory=folder, seed=0, processes=1, mirrors=[])
    rows = problems.head(shared.batch_size * steps)
    data = [
        {"prompt": [{"role": "user", "content": problem}], "answer": answer}
        for problem, answer in rows[["problem", "answer"]].itertuples(index=False)
    ]
    tokens: list[int] = []
    clock = Clock()
    kind = {"grpo": GRPOTrainer, "sdpo": SDPOTrainer}[method]
    trainer = type(
        "Silent", (kind,), {"_send_telemetry": lambda self: None, "create_model_card": lambda *a, **k: None}
    )(
        model=models.load_model(manifest),
        reward_funcs=_graded(tokens),
        args=arguments if method == "grpo" else _sdpo(arguments),
        train_dataset=Dataset.from_list(data),
        processing_class=models.load_tokenizer(manifest),
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    per_step = [clock.times[i + 2] - clock.times[i] for i in range(0, 2 * steps, 2)]
    counts = pd.Series(tokens).groupby(pd.RangeIndex(len(tokens)) // (shared.batch_size * shared.rollouts)).sum()
    return pd.DataFrame({"step": per_step, "tokens": counts.to_list()}, index=pd.RangeIndex(1, steps + 1))


def _graded(tokens: list[int]) -> Callable[..., list[float]]:
    def score(completions: list, completion_ids: list[list[int]], answer: list[str], **_: object) -> list[float]:
        tokens.extend(map(len, completion_ids))
        found = [extract_answer(completion[0]["content"]) for completion in completions]
        return [float(correct) for correct in grade_many(zip(found, answer, strict=True))]

    return score


def _sdpo(arguments) -> SDPOConfig:
    """TRL's SDPO with the paper's settings, as far as it has them."""
    shared = (
        "output_dir", "learning_rate", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps",
        "steps_per_generation", "num_generations", "shuffle_dataset", "remove_unused_columns", "temperature", "top_p",
        "max_completion_length", "weight_decay", "max_grad_norm", "seed", "use_cpu", "bf16", "save_strategy",
        "logging_steps", "report_to", "disable_tqdm", "gradient_checkpointing",
    )  # fmt: skip
    return SDPOConfig(
        **{name: getattr(arguments, name) for name in shared},
        **TEMPLATES,
        top_k=0,
        distillation_mode="topk_logits",
        distillation_topk=100,
        distillation_alpha=0.5,
        distillation_add_tail=True,
        distillation_is_clip=2.0,
        distillation_weight=1.0,
        teacher_model_kind="base",
        success_reward_threshold=0.5,
    )


def table(measured: dict[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Median seconds per step with their range, phases, tokens, and the ratio of seconds per token to ours."""
    rows = []
    for (method, whose), frame in measured.items():
        rest = frame.iloc[1:]  # the first step warms up
        per_token = 1000 * rest["step"].sum() / rest["tokens"].sum()
        base = measured[method, "ours"].iloc[1:]
        ratio = per_token / (1000 * base["step"].sum() / base["tokens"].sum())
        spread = f"{rest['step'].median():.2f} ({rest['step'].min():.2f}-{rest['step'].max():.2f})"
        phases = {name: round(rest[name].median(), 2) for name in rest.columns if name not in ("step", "tokens")}
        row = {"method": method, "trainer": whose, "s/step": spread, "tokens/step": round(rest["tokens"].mean())}
        rows.append(row | {"s/1000 tokens": round(per_token, 3), "ratio": round(ratio, 2)} | phases)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    base = Path("results/microcosm")
    parser.add_argument("--model", type=Path, default=base / "models" / "microcosm" / "base" / "manifest.json")
    parser.add_argument("--problems", type=Path, default=base / "problems" / "train.parquet")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    problems = tables.read(given.problems, "problems")
    measured = {}
    for method in ARMS:
        for whose, run in (("ours", ours), ("TRL stock", stock)):
            with tempfile.TemporaryDirectory() as folder:
                measured[method, whose] = run(method, given.model, problems, given.steps, Path(folder))
    shown = table(measured)
    print(shown.fillna("").to_string(index=False))
    if given.out:
        given.out.write_text(json.dumps(shown.to_dict("records"), indent=2, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
