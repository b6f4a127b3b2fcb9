"""On-policy training (Sections 5 and 6): from a problem set to models, rollouts and step metrics, by any method."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, PrinterCallback

from selfdistill import models, processes
from selfdistill.environment import made_with
from selfdistill.errors import UserError, one_of
from selfdistill.files import sha256_text
from selfdistill.generation import contexts
from selfdistill.generation.requests import Sampling
from selfdistill.prompts import render, user_prompt
from selfdistill.settings import as_json
from selfdistill.training import adapters, methods
from selfdistill.training.arguments import trainer_arguments
from selfdistill.training.checkpoints import run_to_end
from selfdistill.training.metrics import ProgressCallback, on_policy_tables
from selfdistill.training.prompt_stream import prompt_stream, training_set
from selfdistill.training.rollouts import RolloutRecord
from selfdistill.training.settings import CONTEXTS, OnPolicySettings, Run, check_mirrors
from selfdistill.training.trainer import OnPolicyTrainer, StepCallback

ENGINES = ("transformers", "vllm")


def train_onpolicy(
    problems: pd.DataFrame,
    *,
    manifest: Path,
    study: str,
    run: Run,
    settings: OnPolicySettings,
    sampling: Sampling,
    instruction: str,
    enable_thinking: bool | None,
    out_dir: Path,
    work_dir: Path,
    mirrors: list[str],
    engine: str = "transformers",
    template: str | None = None,
    system: str = "",
    answer_in: str = "box",
    checkpoint_seconds: float = 5.0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Train the model at ``manifest``; models of `checkpoint_steps` are left in ``out_dir``/step-N.

    ``problems`` has the `problems` schema. Returned: step metrics (`training_steps` schema), seconds by phase (the same
    schema; the one table that differs between machines) and every rollout (`traces` schema). A killed run continues
    from its last checkpoint below ``work_dir``, on CPU to the same bytes. Ends the process with status 75 on SIGTERM
    and SIGUSR1 (see `checkpoints.run_to_end`).

    ``engine``: "transformers" samples with the model that is trained; "vllm" with a copy that shares the GPU, asleep
    while the model is updated. vLLM has its own random numbers: an interrupted run samples others from there on.
    ``template``: that of the run's context, which a context of another name than `CONTEXTS` needs. ``system``: the
    system turn of all prompts; ``answer_in``: see `traces.annotate`.
    """
    if template is None and run.context not in (None, *CONTEXTS):
        raise UserError(f"the context '{run.context}' needs its template; those without one: {', '.join(CONTEXTS)}")
    one_of("engine", engine, ENGINES)
    method = methods.load(run.method)
    check_mirrors(mirrors)
    tokenizer = models.load_tokenizer(manifest)
    examples = _examples(training_set(problems, subset=run.problems, draw=run.draw), instruction)
    extent = {"batch_size": settings.batch_size, "steps": settings.steps, "copies": settings.copies}
    order = prompt_stream(len(examples), **extent, seed=run.seed)
    identity = [
        models.fingerprint(manifest),
        made_with(f"{__name__}:train_onpolicy", methods.METHODS[run.method], without={"vllm"} - {engine}),
        processes.shared_by(),
        [enable_thinking, engine, system, answer_in, *([] if template is None else [template])],
        [as_json(part) for part in (run, settings, sampling)],
        [examples[number] for number in order],
    ]
    folder = work_dir / sha256_text(json.dumps(identity))[:16]
    record = RolloutRecord(folder / "rollouts", study, run.model, run.id, answer_in)
    asked = {"enable_thinking": enable_thinking, "system": system}
    longest = _longest_prompt(examples, tokenizer, **asked) if engine == "vllm" else 0
    model = adapters.load_model(manifest, settings.lora_rank)
    if engine == "vllm":  # TRL starts it by this name, at no commit
        model.name_or_path = str(models.folder_of(manifest))
    trainer = OnPolicyTrainer(
        method=method,
        initial=manifest,
        run=run,
        settings=settings,
        sampling=sampling,
        **asked,
        opened=contexts.opens_thinking(tokenizer, enable_thinking=enable_thinking),
        record=record,
        template=template,
        model=model,
        args=trainer_arguments(
            run,
            settings,
            sampling,
            directory=folder / "checkpoints",
            processes=processes.count(),
            mirrors=mirrors,
            engine=engine,
            longest_prompt=longest,
        ),
        peft_config=adapters.low_rank(settings.lora_rank),
        train_dataset=Dataset.from_list([examples[number] for number in order]),
        processing_class=tokenizer,
        callbacks=[ProgressCallback(run.id)],
    )
    trainer.add_callback(StepCallback(trainer, folder / "models", base=manifest if settings.lora_rank else None))
    trainer.remove_callback(PrinterCallback)
    # Deterministic mode would fill every new buffer with NaN.
    torch.utils.deterministic.fill_uninitialized_memory = False
    updates = settings.updates_per_step
    recorded = _whole_steps(record, folder / "models", settings) * updates if processes.is_main() else None
    run_to_end(trainer, seconds=checkpoint_seconds, every=updates, recorded=recorded)
    if processes.is_main():
        _publish(folder / "models", out_dir)
    metrics, seconds = on_policy_tables(
        trainer.state.log_history, settings.updates_per_step, own=method.metrics, model=run.model, run=run.id
    )
    rollouts = record.all(settings.steps)
    trainer.accelerator.wait_for_everyone()  # the caller deletes what has just been read
    return metrics, seconds, rollouts


def _whole_steps(record: RolloutRecord, exports: Path, settings: OnPolicySettings) -> int:
    """The trainer steps, from the first, of which rollouts and saved models are whole: no checkpoint holds them."""
    for step in range(1, settings.steps + 1):
        if not record.holds(step):
            return step - 1
        if step in settings.checkpoint_steps and not models.is_whole(exports / f"step-{step}" / models.MANIFEST):
            return step - 1
    return settings.steps


def _longest_prompt(examples: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, **asked: Any) -> int:
    """The longest prompt, in tokens; ``asked``: options of `prompts.render`."""
    texts = {example["prompt"][0]["content"] for example in examples}
    return max(len(render(tokenizer, text, **asked)) for text in texts)


def _examples(problems: pd.DataFrame, instruction: str) -> list[dict[str, Any]]:
    """Rows of TRL's data set: the prompt as a user turn, and what the grader needs."""
    return [
        {
            "prompt": [{"role": "user", "content": user_prompt(problem, instruction)}],
            "problem_id": problem_id,
            "problem": problem,
            "answer": answer,
        }
        for problem_id, problem, answer in problems[["problem_id", "problem", "answer"]].itertuples(index=False)
    ]


def _publish(source: Path, out_dir: Path) -> None:
    """The saved models as hard links, so that a kill before all tables are written loses none of them."""
    shutil.rmtree(out_dir, ignore_errors=True)
    shutil.copytree(source, out_dir, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
