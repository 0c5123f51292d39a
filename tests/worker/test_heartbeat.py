"""The file that a health check looks at is touched while the database answers, and not otherwise."""

import threading
import time
from pathlib import Path

from core.settings import Settings
from db.engine import Database
from worker.sweep import sweep_until


def sweep_for_a_moment(database: Database, settings: Settings) -> None:
    stop = threading.Event()
    sweeper = threading.Thread(target=sweep_until, args=(stop, database, settings))
    sweeper.start()
    time.sleep(0.3)
    stop.set()
    sweeper.join()


def test_a_sweeper_beats_while_the_database_answers(sqlite_url: str, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, sweep_seconds=0.05, heartbeat=tmp_path / "heartbeat")
    with_tables, without = Database(sqlite_url), Database(f"sqlite:///{tmp_path}/empty.db")
    sweep_for_a_moment(without, settings)
    assert not (tmp_path / "heartbeat").exists()
    sweep_for_a_moment(with_tables, settings)
    assert (tmp_path / "heartbeat").exists()
    with_tables.close()
    without.close()
