"""The command line, as `selfdistill` and as `python -m selfdistill`: from whichever interpreter runs it."""

import sys

from selfdistill import interrupts
from selfdistill.warm import client

sys.excepthook = interrupts.tell  # before the imports below, which take half a second


def main() -> int:
    from selfdistill import cli  # not needed where a warm process does the work

    return cli.main()


if __name__ == "__main__":
    sys.exit(client.run(client.COMMAND_LINE, main))
