"""`python -m selfdistill.warm KIND=SOCKET ...`: the warm processes of a run, started by `selfdistill.warm.start`."""

import sys

from selfdistill.warm import server

work = server.jobs(sys.argv[1:])
# Here only in the process of a job: an error ends it as it would end any other.
server.finish(work())
