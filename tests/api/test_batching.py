import asyncio
import threading
import time

import pytest

from api.batching import Batched


def test_readers_share_queries_and_get_what_is_there_now() -> None:
    batches: list[list[int]] = []
    written = {1: "a", 2: "b"}

    def load(keys: list[int]) -> dict[int, str]:
        batches.append(keys)
        time.sleep(0.02)
        return {key: written[key] for key in keys if key in written}

    async def read() -> None:
        batched = Batched(load)
        first = asyncio.create_task(batched.get(1))
        await asyncio.sleep(0.005)  # the first query runs
        written[1] = "new"
        others = [asyncio.create_task(batched.get(key)) for key in (1, 2, 3, 2, 1)]
        assert await first in ("a", "new")
        assert [await other for other in others] == ["new", "b", None, "b", "new"]
        assert await batched.get(2) == "b"

    asyncio.run(read())
    assert [sorted(batch) for batch in batches] == [[1], [1, 2, 3], [2]]


def test_a_failure_reaches_all_who_asked_and_nobody_later() -> None:
    failing = True

    def load(keys: list[int]) -> dict[int, int]:
        if failing:
            raise ConnectionError
        return dict.fromkeys(keys, 0)

    async def read() -> None:
        nonlocal failing
        batched = Batched(load)
        answers = await asyncio.gather(batched.get(1), batched.get(2), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ConnectionError, ConnectionError]
        failing = False
        assert await batched.get(1) == 0

    asyncio.run(read())


def test_one_who_goes_away_takes_nobody_along() -> None:
    gate = threading.Event()

    def load(keys: list[int]) -> dict[int, int]:
        gate.wait(5)
        return dict.fromkeys(keys, 0)

    async def read() -> None:
        batched = Batched(load)
        gone, stays = asyncio.create_task(batched.get(1)), asyncio.create_task(batched.get(1))
        await asyncio.sleep(0.01)
        gone.cancel()
        gate.set()
        assert await stays == 0
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(read())
