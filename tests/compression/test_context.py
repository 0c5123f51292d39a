"""When a checkpoint is due."""

import io
from pathlib import Path

import pytest
import torch

from compression.checkpoints.loading import open_source
from compression.context import Context
from compression.events import EventWriter
from tests.checkpoints import make_tiny_checkpoint


@pytest.mark.parametrize(
    ("saving", "pause"),
    [
        pytest.param(0.0, 60, id="before the first"),
        pytest.param(1.0, 60, id="small"),
        pytest.param(2.0, 100, id="large: a fiftieth of the time"),
        pytest.param(9.0, 120, id="so large that a loss would cost too much"),
    ],
)
def test_large_checkpoints_are_rarer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saving: float, pause: float
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    def write(*_: object) -> None:
        nonlocal now
        now += saving

    monkeypatch.setattr("compression.context.write_checkpoint", write)
    context = Context(
        source=open_source(make_tiny_checkpoint(tmp_path / "m")), device=torch.device("cpu"), dtype=torch.float32,
        seed=0, emit=EventWriter(io.StringIO()), stop_requested=lambda: False, checkpoint_folder=tmp_path,
        checkpoint_seconds=60, total_steps=1, saved_at=now,
    )  # fmt: skip
    if saving:
        context.save(0, {}, {})
    now += pause - 0.5
    assert not context.checkpoint_due()
    now += 1
    assert context.checkpoint_due()
