"""`python -m selfdistill`: the command line, from whichever interpreter runs it."""

import sys

from selfdistill.cli import main, spare_collector

spare_collector()
sys.exit(main())
