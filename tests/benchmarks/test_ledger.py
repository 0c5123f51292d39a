from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.ledger import unfinished
from tests.benchmarks.test_theseus import figures


def test_an_interrupted_measurement_goes_on_and_a_finished_one_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "runs.jsonl"

    def interrupted() -> None:
        with unfinished(file) as ledger:
            ledger.figures({"seed": 0}, lambda: figures(0.7))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with unfinished(file) as ledger:
        assert ledger.figures({"seed": 0}, lambda: figures(0.1)) == figures(0.7)
        assert ledger.found({"seed": 1}, lambda: asdict(figures(0.6)))["after"] == 0.6
        assert ledger.told().startswith("2 runs; 1 of them in earlier sittings")
        assert ledger.told() == "0 runs."
        assert len(file.read_text().splitlines()) == 2
    assert not file.exists()
