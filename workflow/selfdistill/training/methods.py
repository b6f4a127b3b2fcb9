"""Which training methods there are; imports no torch.

A method is one module: its docstring names the paper, its class is a `selfdistill.training.method.Method`, and a line
of `METHODS` gives it a name.
"""

from typing import Any

from selfdistill import entries

# A registry (`entries`), by the method's name in the configuration.
METHODS = {
    "grpo": "selfdistill.training.grpo:Grpo",
    "sdpo": "selfdistill.training.sdpo:Sdpo",
}


def load(name: str) -> Any:
    """The class of a method, a `Method`; imports its module. Raises `UserError` for an unknown name."""
    return entries.load("method", name, METHODS)
