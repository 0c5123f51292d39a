"""Puts right what crashes leave behind: `python -m worker.sweep`. Any number of sweepers may run."""

import signal
import threading
import time

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.hints import hint_sender
from core.logging import configure_logging
from core.settings import Settings
from core.storage import Storage
from db import lifecycle
from db.engine import Database
from db.repositories import datasets, models

log = structlog.get_logger(__name__)

ORPHANS_EVERY_SECONDS = 3600
ORPHAN_AGE_SECONDS = 86400
"""Files are stored before the row that names them is written; after a day it will not be any more."""


def sweep(database: Database, settings: Settings) -> None:
    """Queue the jobs of lost workers again, and wake workers for jobs that have waited for long."""
    with database.transaction() as connection:
        for job in lifecycle.expire_leases(connection):
            log.warning("lease_expired", job_id=job.id, attempt=job.attempt, state=job.state)
    with database.transaction() as connection:
        lifecycle.hint_again(connection, 2 * settings.sweep_seconds)


def remove_orphans(database: Database, storage: Storage) -> None:
    """Remove models and datasets whose row was never written because a process died."""
    for kind, find in (("models", models.find), ("datasets", datasets.find)):
        for id in storage.older_than(kind, ORPHAN_AGE_SECONDS):
            with database.reading() as connection:
                known = find(connection, id) is not None
            if not known:
                log.warning("orphan_removed", kind=kind, id=id)
                storage.delete(f"{kind}/{id}")


def sweep_until(stop: threading.Event, database: Database, settings: Settings) -> None:
    """Sweep again and again; a database that is away is tried again."""
    storage = Storage(settings.storage)
    orphans_at = time.monotonic()
    while not stop.wait(settings.sweep_seconds):
        try:
            sweep(database, settings)
            settings.beat()
            if time.monotonic() >= orphans_at:
                remove_orphans(database, storage)
                orphans_at = time.monotonic() + ORPHANS_EVERY_SECONDS
        except SQLAlchemyError:
            log.exception("sweep_failed")


def main() -> None:
    settings = Settings()
    configure_logging(settings.log_level)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    database = Database(settings.database_url, on_queued=hint_sender(settings.redis_url))
    sweep_until(stop, database, settings)


if __name__ == "__main__":
    main()
