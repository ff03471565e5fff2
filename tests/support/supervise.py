"""A gateway with a test's patience: `python -m tests.support.supervise CONFIG HUNG_AFTER_S`."""

import sys

from gateway.observe.logs import setup
from gateway.runtime.loading import Reader
from gateway.runtime.supervisor import Supervisor

settings, _ = Reader(sys.argv[1]).read()
setup(settings.log, "supervisor")
sys.exit(Supervisor(settings, hung_after_s=float(sys.argv[2])).run())
