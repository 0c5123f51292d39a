"""Many readers, few queries."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import anyio.to_thread

K = TypeVar("K")
V = TypeVar("V")

TICK_SECONDS = 0.5
"""How often those who wait for news look; all at the same moments, so that they share a query."""


class Batched(Generic[K, V]):
    """Reads by key, where all keys asked for while one query runs are fetched together by the next.

    A reader never gets what was read before it asked. It costs a fraction of a query and of a change of threads,
    which cost more than all else that an answer takes.
    """

    def __init__(self, load: Callable[[list[K]], Mapping[K, V]]) -> None:
        """`load` is called in a thread, never twice at the same time, with distinct keys."""
        self._load = load
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._loading: asyncio.Task[None] | None = None
        self._own_thread = anyio.CapacityLimiter(1)  # readers do not queue behind long work

    async def get(self, key: K) -> V | None:
        """What is there now under a key. Raises what `load` raises."""
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_all())
        return await future

    async def _load_all(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # for those who ask at the same moment
                waiting, self._waiting = self._waiting, {}
                await self._answer(waiting)
        finally:
            self._loading = None

    async def _answer(self, waiting: dict[K, list[asyncio.Future[V | None]]]) -> None:
        values: Mapping[K, V] = {}
        failure = None
        try:
            values = await anyio.to_thread.run_sync(self._load, list(waiting), limiter=self._own_thread)
        except Exception as error:
            failure = error
        for key, futures in waiting.items():
            for future in futures:
                if future.done():
                    continue  # the reader went away
                if failure is None:
                    future.set_result(values.get(key))
                else:
                    future.set_exception(failure)


async def next_tick() -> None:
    """Sleep until the next moment at which everybody looks for news."""
    await asyncio.sleep(TICK_SECONDS - time.monotonic() % TICK_SECONDS)
