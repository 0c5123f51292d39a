"""A worker that Celery wakes: `python -m worker.app`. Celery spreads the work; it is never asked what became of it."""

import os
import threading
import time
from collections.abc import Sequence

import structlog
from celery import Celery, signals
from sqlalchemy.exc import SQLAlchemyError

from core.hints import TASK, hint_sender
from core.logging import configure_logging
from core.settings import Settings
from db.engine import Database
from db.repositories import jobs
from worker.attempt import Worker
from worker.child import COMMAND

log = structlog.get_logger(__name__)

CONFIGURATION = {
    # Acknowledged late, Redis starts a long task twice, and for ever once it has killed its worker.
    "task_acks_late": False,
    "task_reject_on_worker_lost": False,
    # A hint that was fetched ahead of time would wait for a busy worker while another is idle.
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    # A second truth, and a worker with one may stop consuming after Redis was away.
    "result_backend": None,
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "worker_enable_remote_control": False,
    "worker_redirect_stdouts": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_transport_options": {"socket_keepalive": True, "health_check_interval": 30},
}

WATCH_SECONDS = 10.0
DEAF_SECONDS = 120.0


class Bell:
    """What a hint rings."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._ringing = threading.Lock()
        self._rung_at = time.monotonic()

    def ring(self) -> None:
        with self._ringing:
            try:
                self._worker.work()
            except Exception:  # the sweeper rings again
                log.exception("work_failed")
            self._rung_at = time.monotonic()

    def silent_seconds(self) -> float:
        return 0.0 if self._ringing.locked() else time.monotonic() - self._rung_at


def make_app(redis_url: str, queue: str, bell: Bell) -> Celery:
    app = Celery("plankwright", broker=redis_url)
    app.conf.update(CONFIGURATION, task_default_queue=queue)
    app.task(bell.ring, name=TASK)
    return app


def exit_when_deaf(bell: Bell, database: Database, settings: Settings) -> None:
    """End the process, to be started anew, when jobs wait and no hint comes through: consumers do hang at times."""
    waiting_since: float | None = None
    while True:
        time.sleep(WATCH_SECONDS)
        try:
            with database.reading() as connection:
                waiting = jobs.any_queued(connection, settings.queue)
            settings.beat()
        except SQLAlchemyError:
            waiting = False
        now = time.monotonic()
        waiting_since = (waiting_since or now) if waiting else None
        if waiting_since and min(now - waiting_since, bell.silent_seconds()) > DEAF_SECONDS:
            log.error("deaf", queue=settings.queue)
            os._exit(1)


def main(command: Sequence[str] = COMMAND) -> None:
    settings = Settings()
    configure_logging(settings.log_level)
    if settings.redis_url is None:
        raise SystemExit("PLANKWRIGHT_REDIS is not set: without a broker, run `python -m worker.local`")
    database = Database(settings.database_url, on_queued=hint_sender(settings.redis_url))
    worker = Worker(settings, database, command)
    bell = Bell(worker)
    signals.setup_logging.connect(lambda **_: None, weak=False)  # ours stays
    signals.worker_shutting_down.connect(lambda **_: worker.drain.set(), weak=False)
    threading.Thread(target=exit_when_deaf, args=(bell, database, settings), daemon=True).start()
    app = make_app(settings.redis_url, settings.queue, bell)
    try:
        # Threads: a prefork child cannot hear the shutdown, and the main process must live to renew the lease.
        app.Worker(pool="threads", concurrency=1, without_gossip=True, without_mingle=True).start()
    finally:
        worker.close()


if __name__ == "__main__":
    main()
