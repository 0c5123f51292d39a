"""A real worker process with a stand-in for the compression process: `python -m tests.faults.stand_in_worker local`."""

import sys
from importlib import import_module

from tests.worker.service import STAND_IN

if __name__ == "__main__":
    import_module(f"worker.{sys.argv[1]}").main(STAND_IN)
