"""What a run reads of a dataset, and what it says of that."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from compression.checkpoints.facts import TaskType
from compression.events import EventWriter
from compression.run import run
from tests.compression.jobs import make_spec, run_to_end

DROP = {"method": "layer_drop", "keep_layers": 1, "recovery": None}
COLUMNS = {"columns": {"text": "text", "label": "label"}}


@pytest.mark.parametrize(
    ("task", "row", "settings"),
    [
        pytest.param("text-classification", {"text": "good", "label": -1}, None, id="labels kept secret"),
        pytest.param("text-classification", {"sentence": "good"}, COLUMNS, id="other columns"),
        pytest.param("fill-mask", {"text": ""}, None, id="no text"),
    ],
)
def test_a_split_that_nobody_uses_is_in_nobodys_way(
    tmp_path: Path, task: TaskType, row: dict[str, Any], settings: dict[str, Any] | None
) -> None:
    spec = make_spec(tmp_path, [DROP], task=task, layers=2, rows={"test": [row] * 4}, settings=settings)
    assert run_to_end(spec, tmp_path / "out").split == "validation"


@pytest.mark.parametrize("task", ["text-classification", "sentence-similarity", "fill-mask"])
def test_rows_that_are_cut_are_told_once(tmp_path: Path, task: TaskType) -> None:
    spec = make_spec(tmp_path, [DROP], task=task, layers=2, settings={"max_length": 8})
    long = {
        split: sum(
            any(len(text.split()) > 6 for name, text in row.items() if name.startswith("text"))
            for row in map(json.loads, (tmp_path / f"{split}.jsonl").open())
        )
        for split in ("train", "validation")
    }
    told = io.StringIO()
    report = run(spec, tmp_path / "out", EventWriter(told), lambda: False)
    (warning,) = (warning for warning in report.warnings if "longer than 8 word pieces" in warning)
    assert f"{long['train']} of 48 rows of train ({long['train'] / 48:.1%})" in warning
    assert f"{long['validation']} of 24 rows of validation" in warning
    assert "raise task.max_length" in warning
    assert told.getvalue().count('"rows_cut"') == 1


def test_of_sentences_that_are_cut_the_words_are_counted(tmp_path: Path) -> None:
    long = {"tokens": ["good"] * 200, "tags": ["B-thing"] * 200}
    short = {"tokens": ["good"] * 62, "tags": ["B-thing"] * 62}
    spec = make_spec(
        tmp_path, [DROP], task="token-classification", layers=2, rows={"validation": [long, short] * 2}
    )
    report = run_to_end(spec, tmp_path / "out")
    (warning,) = report.warnings
    assert "2 of 4 rows of validation (50.0%), 276 of 524 words of validation (52.7%)" in warning
    assert "The model takes up to 64: cut them into shorter rows." in warning


@pytest.mark.parametrize(("length", "cure"), [(60, "raise it."), (64, "ask in fewer words.")])
def test_questions_that_are_cut_are_told(tmp_path: Path, length: int, cure: str) -> None:
    """Contexts never are: they are read in windows."""
    short = {"question": "who is it", "context": "the dog " * 50, "answers": [], "answer_starts": []}
    long = short | {"question": "who " * 22}
    rows: Any = {"train": [short] * 3, "validation": [short, long, long]}
    spec = make_spec(
        tmp_path, [DROP], task="question-answering", layers=2, rows=rows, settings={"max_length": length}
    )
    told = io.StringIO()
    report = run(spec, tmp_path / "out", EventWriter(told), lambda: False)
    (warning,) = (warning for warning in report.warnings if "longer than" in warning)
    assert warning.startswith(
        f"Questions are longer than {length // 3} word pieces, and nothing beyond that is"
    )
    assert "measured: 2 of 3 questions of validation (66.7%)." in warning
    assert warning.endswith(cure)
    assert told.getvalue().count('"rows_cut"') == 1


@pytest.mark.parametrize("task", ["text-classification", "question-answering"])
def test_nothing_is_said_of_rows_that_are_read_whole(tmp_path: Path, task: TaskType) -> None:
    assert not run_to_end(make_spec(tmp_path, [DROP], task=task, layers=2), tmp_path / "out").warnings
