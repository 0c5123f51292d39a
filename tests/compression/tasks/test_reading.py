"""What is guessed of the rows before a job is what they become when they are encoded."""

from pathlib import Path
from typing import Any, get_args

import pytest

from compression.checkpoints.facts import TIED, Architecture, TaskType
from compression.checkpoints.loading import open_source
from compression.data.ingest import ingest_dataset
from compression.data.summary import SplitName
from compression.tasks import reading
from compression.tasks.encoding import encode_split
from tests.compression.jobs import WRITERS, make_spec

SHORT: dict[TaskType, dict[str, Any]] = {
    "question-answering": {"max_length": 32, "doc_stride": 4},
    "fill-mask": {"measured_pieces": 40},
    "text-generation": {"measured_pieces": 40, "max_length": 16},
}
"""Settings by which a row becomes several, or some of several."""


@pytest.mark.parametrize("settings", [{}, SHORT], ids=["usual", "short"])
@pytest.mark.parametrize("task", get_args(TaskType))
def test_as_many_sequences_are_guessed_as_there_are(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: TaskType,
    settings: dict[TaskType, dict[str, Any]],
) -> None:
    architecture: Architecture = "gpt2" if task == "text-generation" else "bert"
    # To the tokenizers of the tests a word is one piece, or nearly as many as it has letters.
    monkeypatch.setattr(reading, "PIECES_PER_WORD", 4.5 if architecture == "gpt2" else 1.0)
    spec = make_spec(
        tmp_path, [{"method": "quantize"}], task=task, architecture=architecture, settings=settings.get(task)
    )
    files: dict[SplitName, Path] = {
        name: tmp_path / f"{name}{WRITERS[task][0]}" for name in ("train", "validation")
    }
    (tmp_path / "again").mkdir()
    source = open_source(spec.model)
    for name, split in ingest_dataset(files, tmp_path / "again", None, 0).splits.items():
        found = encode_split(source, spec.dataset, name, spec.plan.task, None)
        guess = spec.plan.task.reading(split, learns=name == "train")
        about = 0.3 if task in ("question-answering", *TIED) else 0
        assert guess.sequences == pytest.approx(len(found), rel=about)
        assert guess.total == pytest.approx(found.lengths.sum(), rel=0.3)
        if spec.plan.task.PREDICTS_PIECES:
            hidden = 0.15 if found.masking else 1
            answers = guess.answers * guess.sequences
            assert answers == pytest.approx(max(hidden * found.outputs[-1], 1), rel=0.3)
