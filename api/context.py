"""What the endpoints of one application share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from api.jobs.reader import JobReader
from api.keys.service import KeyRing
from api.metrics import Metrics
from core.settings import Settings
from core.storage import Storage
from db.engine import Database

P = ParamSpec("P")
T = TypeVar("T")

HEAVY_THREADS = 2
"""Uploads that are unpacked and inspected at once; others wait, and everybody else is served meanwhile."""


@dataclass(frozen=True, slots=True)
class Context:
    settings: Settings
    database: Database
    storage: Storage
    metrics: Metrics
    keys: KeyRing
    jobs: JobReader
    heavy: anyio.CapacityLimiter

    async def run_heavy(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what takes seconds in a thread of its own kind."""
        return await anyio.to_thread.run_sync(partial(work, *args, **kwargs), limiter=self.heavy)


def make_context(settings: Settings, database: Database) -> Context:
    return Context(
        settings=settings,
        database=database,
        storage=Storage(settings.storage),
        metrics=Metrics(),
        keys=KeyRing(database),
        jobs=JobReader(database),
        heavy=anyio.CapacityLimiter(HEAVY_THREADS),
    )
