"""What a command says that Ctrl-C has stopped: one sentence, where Python prints its stack."""

import sys
from types import TracebackType


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """For `sys.excepthook`: the error comes this far, as a shell's loop stops only where a command dies of SIGINT."""
    if issubclass(kind, KeyboardInterrupt):
        print("selfdistill: stopped by Ctrl-C", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
