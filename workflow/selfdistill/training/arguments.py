"""Our settings as TRL's."""

from pathlib import Path

import torch
from trl import GRPOConfig

from selfdistill.generation.requests import Sampling
from selfdistill.training import methods
from selfdistill.training.settings import OnPolicySettings, Run


def trainer_arguments(
    run: Run,
    settings: OnPolicySettings,
    sampling: Sampling,
    *,
    directory: Path,
    processes: int,
    mirrors: list[str],
    engine: str = "transformers",
    longest_prompt: int = 0,
) -> GRPOConfig:
    """The one place where our settings become TRL's, but for those that only one method has (`Method.trl_arguments`).

    ``longest_prompt`` (tokens) is for vLLM to reserve room.
    """
    cpu = not torch.cuda.is_available()
    return GRPOConfig(
        use_vllm=engine == "vllm",
        vllm_mode="colocate",
        vllm_enable_sleep_mode=True,
        vllm_gpu_memory_utilization=settings.vllm_memory / 100,
        vllm_max_model_length=longest_prompt + sampling.max_tokens,
        vllm_importance_sampling_correction=False,  # it is ours, and on for every engine
        output_dir=str(directory),
        learning_rate=run.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        # The authors' schedule moves once per trainer step, TRL's once per update.
        warmup_steps=settings.warmup_steps * settings.updates_per_step,
        max_steps=settings.steps * settings.updates_per_step,
        # A batch is an update, which the trainer itself cuts into micro-batches.
        per_device_train_batch_size=settings.share(processes),
        gradient_accumulation_steps=1,
        steps_per_generation=settings.updates_per_step,
        num_generations=settings.rollouts,
        shuffle_dataset=False,  # the order of all steps is in the data set: nothing to restore after a kill
        remove_unused_columns=False,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_completion_length=sampling.max_tokens,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.adam_beta1,
        adam_beta2=settings.adam_beta2,
        max_grad_norm=settings.max_grad_norm,
        beta=0.0,  # no KL term
        scale_rewards="none",  # advantage: reward minus the group's mean, not divided by its deviation
        loss_type={"authors": "grpo", "token": "dapo"}[settings.aggregation],
        seed=run.seed,
        use_cpu=cpu,
        bf16=not cpu,  # with float32 master weights, as the authors train (their fsdp_workers.py:325-329)
        full_determinism=cpu,
        activation_checkpointing=not cpu,
        activation_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="no",  # `CheckpointCallback` decides
        save_total_limit=2,
        logging_steps=settings.updates_per_step,
        logging_nan_inf_filter=False,
        report_to=mirrors,
        disable_tqdm=True,
        **methods.load(run.method).trl_arguments(settings),
    )
