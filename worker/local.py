"""A worker without a broker, which polls the database, and a sweeper beside it: `python -m worker.local`."""

import signal
import threading
from collections.abc import Sequence

import structlog

from core.logging import configure_logging
from core.settings import Settings
from db.engine import Database
from worker.attempt import Worker
from worker.child import COMMAND
from worker.sweep import sweep_until

log = structlog.get_logger(__name__)


def poll_until_drained(worker: Worker, settings: Settings) -> None:
    while not worker.drain.wait(settings.poll_seconds):
        try:
            worker.work()
        except Exception:  # the database is away, the disk is full: neither lasts for ever
            log.exception("work_failed")


def main(command: Sequence[str] = COMMAND) -> None:
    settings = Settings()
    configure_logging(settings.log_level)
    database = Database(settings.database_url)
    worker = Worker(settings, database, command)
    signal.signal(signal.SIGTERM, lambda *_: worker.drain.set())
    signal.signal(signal.SIGINT, lambda *_: worker.drain.set())
    sweeper = threading.Thread(target=sweep_until, args=(worker.drain, database, settings), daemon=True)
    sweeper.start()
    try:
        poll_until_drained(worker, settings)
    finally:
        worker.close()


if __name__ == "__main__":
    main()
