from datetime import datetime

import pytest

from benchmarks.process import Finished, Line
from benchmarks.resume import resumption, steps_done, training_row

BEFORE = """
2026-11-20 12:00:05,000 progress step=40 total=120 eta_seconds=10
2026-11-20 12:00:05,100 checkpoint name=00-00000041 file=00-00000041.safetensors
"""
AFTER = """
2026-11-20 12:00:11,000 phase phase=load
2026-11-20 12:00:12,000 phase phase=baseline
2026-11-20 12:00:15,000 phase phase=compress
2026-11-20 12:00:15,500 progress step=42 total=120 eta_seconds=10
2026-11-20 12:00:20,000 phase phase=export
2026-11-20 12:00:21,000 phase phase=export
"""


def test_a_resumption_lasts_from_the_claim_to_the_next_step() -> None:
    assert steps_done(BEFORE) == 41
    assert steps_done("") == 0
    claimed = datetime(2026, 11, 20, 12, 0, 10).astimezone().timestamp()
    assert resumption(AFTER, claimed) == {
        "claim to next step, s": pytest.approx(5.5),
        "of it the original's evaluation, s": pytest.approx(3),
    }


def test_a_row_counts_the_checkpoints_of_a_training() -> None:
    said = [
        (1.0, '{"type": "phase", "phase": "compress"}'),
        (2.0, '{"type": "checkpoint", "name": "a", "file": "a", "sha256": "", "bytes": 2097152}'),
        (4.0, '{"type": "progress", "step": 40, "total": 40}'),
        (5.0, '{"type": "checkpoint", "name": "b", "file": "b", "sha256": "", "bytes": 2097152}'),
    ]
    lines = [Line(text, wall, wall / 2) for wall, text in said]
    assert training_row(Finished(lines, 6.0, 3.0, 2**30), 1.5) == {
        "seconds between checkpoints": 1.5,
        "training, s": 3.0,
        "training CPU s": 1.5,
        "checkpoints": 2,
        "MiB each": 2,
    }
