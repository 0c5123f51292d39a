"""The rival's own environment is not the project's: PLANKWRIGHT_BERT_SQUEEZE names its checkout and its interpreter."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bert_squeeze import ENGINE, REPAIRED, SHIPPED, Rival, Run, compare, engine, write_rows
from benchmarks.data import Corpus
from benchmarks.results import Draft
from benchmarks.runs import Material
from tests.checkpoints import make_tiny_checkpoint

PLACES = os.environ.get("PLANKWRIGHT_BERT_SQUEEZE", "").split(os.pathsep)
ROWS = [("good dog" if i % 3 else "bad cat", "1" if i % 3 else "0") for i in range(64)]
CORPUS = Corpus(("sentence", "label"), ROWS, ROWS[:16], ROWS[:41])
GOOD = Run(
    accuracy=0.85,
    examples_per_second=400.0,
    training_cpu_seconds=20.0,
    peak_rss_bytes=2**30,
    stack="torch 2",
    before=0.9,
)


def test_the_rows_are_lines_of_text_and_class(tmp_path: Path) -> None:
    write_rows(CORPUS, tmp_path / "rows")
    lines = (tmp_path / "rows" / "test.jsonl").read_text().splitlines()
    assert len(lines) == 41
    assert json.loads(lines[0]) == {"text": "bad cat", "label": 0}


def test_the_engine_must_be_above_both() -> None:
    runs = {
        SHIPPED: [replace(GOOD, accuracy=0.5, training_cpu_seconds=cpu) for cpu in (300.0, 500.0)],
        REPAIRED: [replace(GOOD, accuracy=0.86, training_cpu_seconds=cpu) for cpu in (10.0, 14.0)],
        ENGINE: [GOOD, replace(GOOD, accuracy=0.84)],
    }
    draft = Draft()
    compare(runs, draft)
    assert [target.reached for target in draft.targets] == [True, True, False, False]
    assert [target.measured for target in draft.targets] == pytest.approx([0.345, 20, -0.015, 0.6])
    assert [row["retention"] for row in draft.rows] == pytest.approx([0.5 / 0.9, 0.86 / 0.9, 0.845 / 0.9])


@pytest.mark.skipif(len(PLACES) != 2, reason="PLANKWRIGHT_BERT_SQUEEZE=CHECKOUT:INTERPRETER is not set")
def test_all_learn_from_the_same_rows_and_the_repaired_trains_its_successor_alone(tmp_path: Path) -> None:
    CORPUS.write(tmp_path)
    write_rows(CORPUS, tmp_path / "rows")
    model = make_tiny_checkpoint(tmp_path / "model", layers=6, labels=("0", "1"))
    rival = Rival(Path(PLACES[0]), Path(PLACES[1]), model, tmp_path / "rows")
    settings: dict[str, Any] = {"steps": 4, "learning_rate": 1e-3, "length": 32, "seed": 0, "threads": 1}
    shipped, repaired = (rival.run(repaired=repaired, **settings) for repaired in (False, True))
    ours = engine(Material.prepare(model, tmp_path), **settings)
    assert ours.before is not None
    for run in (shipped, repaired, ours):
        assert round(run.accuracy * 41, 6).is_integer()
        assert run.training_cpu_seconds > 0
    assert shipped.trained is not None
    assert repaired.trained is not None
    assert shipped.trained > 3 * repaired.trained
