"""The processes of one training run, as `selfdistill.launch` starts them; a stage called by itself is one process."""

import json
import os
from pathlib import Path
from typing import Any

from selfdistill.errors import UserError

ALONE = "none"  # in place of an accelerate configuration: one process
SHARED_BY = "SELFDISTILL_ACCELERATE"  # a variable of launched processes: what their configuration says


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes what the run leaves."""
    return os.environ.get("RANK", "0") == "0"


def shared_by() -> str:
    """How the processes share the work: what their accelerate configuration says, or "none" for one process."""
    return os.environ.get(SHARED_BY, ALONE)


def wait_for_all() -> None:
    """Until every process has come here."""
    if count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def any_of(*flags: bool) -> list[bool]:
    """For each flag, whether any process has raised it; all processes get the same answer."""
    if count() == 1:
        return list(flags)
    from accelerate.utils import gather_object

    return [any(raised) for raised in zip(*gather_object([flags]), strict=True)]


def see_one_gpu() -> None:
    """Hide all GPUs but the first: a trainer that sees several would use all of them, with a batch for each."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.partition(",")[0]


def accelerate_settings(configuration: str) -> dict[str, Any]:
    """What an accelerate configuration (a YAML file, or "none") says; `UserError` where it is not there or no such."""
    import yaml

    if configuration == ALONE:
        return {}
    path = Path(configuration)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a readable accelerate configuration: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected an accelerate configuration: keys and their values")
    return values


def environments_of(configuration: Path) -> list[dict[str, str]]:
    """The environment variables of every process, in the order of their ranks. Needs accelerate (and torch)."""
    import torch
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    if not configuration.is_file():
        raise UserError(f"{configuration}: no such accelerate configuration")
    gpus = torch.cuda.device_count()
    size = ["--num_processes", str(gpus)] if gpus else []
    options = ["--config_file", str(configuration), *size, "--main_process_port", "0", "-m", "selfdistill"]
    known, _, _ = _validate_launch_command(launch_command_parser().parse_args(options))
    shared = prepare_multi_gpu_env(known) | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(known.main_process_port),
        "WORLD_SIZE": str(known.num_processes),
        "LOCAL_WORLD_SIZE": str(known.num_processes),
        "ACCELERATE_USE_CPU": str(bool(known.use_cpu)),
        SHARED_BY: json.dumps(accelerate_settings(str(configuration)), sort_keys=True, default=str),
    }
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(known.num_processes)]
