import time

import redis

from core.hints import hint_sender
from tests.services import free_port


def test_a_hint_is_an_empty_message_on_its_queue(redis_url: str) -> None:
    hint_sender(redis_url)("gpu")
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("gpu") == 1


def test_without_a_broker_nothing_is_sent_and_nothing_raised() -> None:
    hint_sender(None)("cpu")


def test_a_dead_broker_costs_less_than_two_seconds_and_raises_nothing() -> None:
    send = hint_sender(f"redis://127.0.0.1:{free_port()}/0")
    for _ in range(2):
        began = time.monotonic()
        send("cpu")
        assert time.monotonic() - began < 2
