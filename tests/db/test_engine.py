import time

import pytest
from sqlalchemy import text

from db.engine import DATABASE_AWAY, Database
from tests.db.records import add_inputs, new_job


def freeze_in_a_transaction(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '100ms'"))
        time.sleep(0.5)
        connection.execute(text("SELECT 1"))


def test_a_client_that_is_frozen_in_a_transaction_loses_its_locks(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.transaction() as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "15s"
    with pytest.raises(DATABASE_AWAY):
        freeze_in_a_transaction(database)
    with database.transaction() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    database.close()


def test_reads_go_on_while_somebody_writes(database: Database) -> None:
    add_inputs(database)
    with database.transaction() as writing:
        job = new_job(writing)
        with database.reading() as connection:
            found = connection.scalar(text("SELECT count(*) FROM jobs WHERE id = :id"), {"id": job.id})
        assert found == 0, "not committed yet"
