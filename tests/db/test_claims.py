"""Many workers at one queue."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

from db import lifecycle
from db.engine import Database
from db.errors import IllegalTransition
from db.models import JobState
from db.repositories import events, jobs
from tests.db.records import add_inputs, new_job, succeed

WORKERS, JOBS = 6, 24


def claim_all(url: str, worker: int) -> list[str]:
    """Claim until there is nothing left."""
    database = Database(url)
    claimed: list[str] = []
    while True:
        with database.transaction() as connection:
            job = lifecycle.claim(connection, "cpu", f"worker {worker}", 60)
        if job is None:
            database.close()
            return claimed
        claimed.append(job.id)


def test_no_job_is_claimed_twice_by_threads_or_processes(database: Database, database_url: str) -> None:
    add_inputs(database)
    processes = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    for pool in (ThreadPoolExecutor(WORKERS), processes):
        with database.transaction() as connection:
            created = {new_job(connection).id for _ in range(JOBS)}
        with pool:
            claims = [id for ids in pool.map(partial(claim_all, database_url), range(WORKERS)) for id in ids]
        assert sorted(claims) == sorted(created)
    with database.reading() as connection:
        running = jobs.page(connection, states={JobState.RUNNING}, after=None, limit=100).rows
        assert [job.attempt for job in running] == [1] * (2 * JOBS)


def test_a_job_is_cancelled_or_succeeds_but_not_both(database: Database) -> None:
    add_inputs(database)

    def attempt_to(deed: str, job_id: str) -> bool:
        try:
            with database.transaction() as connection:
                job = jobs.find(connection, job_id)
                assert job is not None
                _ = succeed(connection, job) if deed == "succeed" else lifecycle.cancel(connection, job_id)
        except IllegalTransition:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            with database.transaction() as connection:
                job_id = new_job(connection).id
                lifecycle.claim(connection, "cpu", "worker", 60)
            won = list(pool.map(attempt_to, ["succeed", "cancel"], [job_id, job_id]))
            assert sorted(won) == [False, True]
            with database.reading() as connection:
                assert len(events.after(connection, job_id, 3, 10)) == 1
