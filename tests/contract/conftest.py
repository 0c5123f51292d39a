"""Runs of the engine in tests measure latency for as few rounds as it takes."""

import pytest

from compression.evaluation import cost


@pytest.fixture(autouse=True)
def short_latency_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SECONDS", 0.0)
