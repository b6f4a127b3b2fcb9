"""`python -m selfdistill`: the command line, from whichever interpreter runs it."""

import sys

from selfdistill.warm import client


def main() -> int:
    from selfdistill import cli  # not needed where a warm process does the work

    return cli.main()


sys.exit(client.run(client.COMMAND_LINE, main))
