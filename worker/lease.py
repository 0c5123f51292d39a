"""Keeps the lease of a job alive from a thread of its own, whatever else the worker is busy with."""

import threading
import time
from types import TracebackType

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.settings import Settings
from db import lifecycle
from db.engine import Database
from db.lifecycle import Order
from db.models import Job

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
"""Pause between two looks for what the attempt shall do."""


class Lease:
    """`order` is what the attempt shall do, at most a second old. Once it is LET_GO it stays so."""

    def __init__(self, database: Database, job: Job, settings: Settings) -> None:
        self.order = Order.GO_ON
        self._database = database
        self._job = job
        self._settings = settings
        self._renewed_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _keep(self) -> None:
        while self.order is not Order.LET_GO and not self._ended.wait(LOOK_SECONDS):
            try:
                self.order = self._look()
            except SQLAlchemyError as error:
                log.warning("lease_not_renewed", job_id=self._job.id, error=str(error))
                if self._since_renewal() > self._settings.lease_seconds:
                    self.order = Order.LET_GO

    def _look(self) -> Order:
        if self._since_renewal() < self._settings.renew_seconds:
            with self._database.reading() as connection:
                return lifecycle.order(connection, self._job.id, self._job.attempt)
        began = time.monotonic()
        with self._database.transaction() as connection:
            order = lifecycle.renew_lease(
                connection, self._job.id, self._job.attempt, self._settings.lease_seconds
            )
        self._renewed_at = began
        return order

    def _since_renewal(self) -> float:
        return time.monotonic() - self._renewed_at
