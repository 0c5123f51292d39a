import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import update

from core.settings import Settings
from core.storage import Storage
from db import lifecycle
from db.clock import database_now
from db.engine import Database
from db.models import Job, JobState
from db.repositories import jobs
from tests.db.records import MODEL_ID, add_inputs, new_job
from worker.sweep import ORPHAN_AGE_SECONDS, remove_orphans, sweep


def test_lost_jobs_are_queued_and_hinted(database_url: str, tmp_path: Path) -> None:
    woken: list[str] = []
    database = Database(database_url, on_queued=woken.append)
    add_inputs(database)
    with database.transaction() as connection:
        lost, waiting = new_job(connection), new_job(connection)
        lifecycle.claim(connection, "cpu", "worker", 60)
        past = database_now(connection) - timedelta(hours=1)
        connection.execute(update(Job).values(lease_until=past, hinted_at=past))
    woken.clear()
    with ThreadPoolExecutor(3) as sweepers:
        list(sweepers.map(partial(sweep, database), [Settings(data=tmp_path)] * 3))
    with database.reading() as connection:
        found = jobs.find(connection, lost.id), jobs.find(connection, waiting.id)
    assert [job and (job.state, job.lost_workers) for job in found] == [
        (JobState.QUEUED, 1),
        (JobState.QUEUED, 0),
    ]
    assert woken == ["cpu", "cpu"]
    database.close()


def test_only_old_files_without_a_row_are_removed(database: Database, tmp_path: Path) -> None:
    add_inputs(database)
    storage = Storage(tmp_path)
    old = time.time() - ORPHAN_AGE_SECONDS - 1
    for name in (MODEL_ID, "mdl_orphan", "mdl_of_an_upload_at_work"):
        folder = storage.path(f"models/{name}")
        folder.mkdir(parents=True)
        if "upload" not in name:
            os.utime(folder, (old, old))
    remove_orphans(database, storage)
    assert {path.name for path in storage.path("models").iterdir()} == {MODEL_ID, "mdl_of_an_upload_at_work"}
