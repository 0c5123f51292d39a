from datetime import datetime

import pytest

from benchmarks.job_overhead import read_moments

LOG = """\
--- attempt 1 on wrk_1 ---
2026-11-20 12:00:01,000 phase phase=load
2026-11-20 12:00:01,500 phase phase=baseline
2026-11-20 12:00:04,500 phase phase=compress
2026-11-20 12:00:05,000 metric learning_rate=0.0001 loss=0.7 step=1
2026-11-20 12:00:05,000 progress step=1 total=60 eta_seconds=10
2026-11-20 12:00:15,000 progress step=60 total=60 eta_seconds=0
2026-11-20 12:00:17,000 metric eval.accuracy=0.8 step=60
2026-11-20 12:00:17,250 checkpoint name=00-00000060
2026-11-20 12:00:17,250 progress step=60 total=60
2026-11-20 12:00:17,250 phase phase=export
2026-11-20 12:00:17,500 phase phase=evaluate
2026-11-20 12:00:19,500 phase phase=benchmark
2026-11-20 12:00:22,500 phase phase=export
2026-11-20 12:00:23,000 result verdict=met metric=accuracy
"""


def test_overhead_is_what_neither_trains_nor_measures() -> None:
    noon = datetime(2026, 11, 20, 12).astimezone().timestamp()
    row = read_moments(LOG, claimed=noon, succeeded=noon + 24).row("warm")
    assert row == {
        "job": "warm",
        "claim to first step, s": pytest.approx(5 - 3),
        "with the original measured, s": pytest.approx(5),
        "last step to succeeded, s": pytest.approx(9 - 2 - 2 - 3),
        "overhead, s": pytest.approx(4),
        "training, s": pytest.approx(10),
        "evaluation, s": pytest.approx(3 + 2 + 2 + 3),
    }
