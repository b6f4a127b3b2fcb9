"""The processes of one training run, as `selfdistill.launch` starts them; a stage called by itself is one process."""

import os


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes what the run leaves."""
    return os.environ.get("RANK", "0") == "0"


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
