"""Wakes workers: an empty message by name, so that who sends it needs no worker code. Losing one is harmless."""

from collections.abc import Callable

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)

TASK = "work"


def hint_sender(redis_url: str | None) -> Callable[[str], None]:
    """A function that wakes a worker of the queue it is given, in at most two seconds and without raising."""
    if redis_url is None:
        return lambda queue: None
    celery = Celery("hints", broker=redis_url)
    celery.conf.update(
        task_ignore_result=True,
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0, "interval_step": 0.2},
        broker_transport_options={"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
    )

    def send(queue: str) -> None:
        try:
            celery.send_task(TASK, queue=queue)
        except OperationalError as error:
            log.warning("hint_not_sent", queue=queue, error=str(error))

    return send
