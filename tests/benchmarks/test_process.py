import os
import time
from pathlib import Path

import pytest

from benchmarks import process


def test_a_process_is_measured_from_outside(tmp_path: Path) -> None:
    busy = "x = b'x' * 300_000_000; t = time.process_time()\nwhile time.process_time() - t < 0.5: pass"
    started = time.perf_counter()
    finished = process.run(
        ["timeit", "-n", "1", "-r", "1", "-s", "import time", busy], threads=1, log=tmp_path / "log"
    )
    assert finished.peak_rss_bytes > 300_000_000
    assert 0.5 < finished.cpu_seconds <= finished.wall_seconds + 0.1
    assert finished.wall_seconds <= time.perf_counter() - started
    assert "loop" in finished.lines[0].text
    assert 0.5 < finished.lines[0].cpu <= finished.cpu_seconds + 0.1


def test_a_failure_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="No module named no_such_module"):
        process.run(["no_such_module"], threads=1, log=tmp_path / "log")


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(SystemExit, match="cores"):
        process.pin_to_cores(len(os.sched_getaffinity(0)) + 1)
