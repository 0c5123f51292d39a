"""What is kept between runs is read again, changes nothing, and never stands in the way."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compression.cache import forget_oldest, made_by
from compression.checkpoints.loading import Source, open_source
from compression.data.summary import SplitName
from compression.methods.trim_vocabulary.params import TrimVocabularyParams
from compression.report.schema import Measured
from compression.spec import RunSpec
from compression.tasks.encoding import encode_split
from compression.tasks.resolution import Task
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import make_spec, run_to_end, weights_of

STEP = {"method": "theseus", "successor_layers": 1, "distillation": {}, "training": {"max_steps": 2}}


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    (tmp_path / "cache").mkdir()
    return make_spec(tmp_path, [STEP], runtime={"device": "cpu", "cache": tmp_path / "cache"})


def kept(spec: RunSpec, kind: str) -> list[Path]:
    assert spec.runtime.cache is not None
    return sorted(spec.runtime.cache.glob(f"{kind}-*"))


def test_a_second_run_encodes_and_asks_nothing_again(spec: RunSpec, tmp_path: Path) -> None:
    first = run_to_end(spec, tmp_path / "first")
    written = {file: file.stat().st_ino for file in (*kept(spec, "encoded"), *kept(spec, "answers"))}
    assert len(kept(spec, "encoded")) == 2, "train and validation"
    assert len(kept(spec, "answers")) == 2, (
        "the original's for the validation rows, the teacher's for those learnt"
    )
    second = run_to_end(spec, tmp_path / "second")
    assert {file: file.stat().st_ino for file in written} == written
    assert weights_of(tmp_path / "second") == weights_of(tmp_path / "first")
    assert second.before.metrics == first.before.metrics


def test_rows_for_a_trimmed_vocabulary_are_kept_too(spec: RunSpec, tmp_path: Path) -> None:
    """By its content: one of another share is another tokenizer."""

    def trimmed(share: float, out: str) -> bytes:
        trim = TrimVocabularyParams(keep_share=share)
        plan = spec.plan.model_copy(update={"steps": [trim, *spec.plan.steps]})
        run_to_end(spec.model_copy(update={"plan": plan}), tmp_path / out)
        return weights_of(tmp_path / out)

    first = trimmed(0.9, "first")
    written = {file: file.stat().st_ino for file in kept(spec, "encoded")}
    assert len(written) == 4, "train and validation, before and after"
    assert trimmed(0.9, "second") == first
    assert {file: file.stat().st_ino for file in kept(spec, "encoded")} == written
    trimmed(0.8, "third")
    assert len(kept(spec, "encoded")) == 6
    without = spec.runtime.model_copy(update={"cache": None})
    spec = spec.model_copy(update={"runtime": without})
    assert trimmed(0.9, "fourth") == first


def test_answers_are_those_of_one_model_and_its_rows(spec: RunSpec, tmp_path: Path) -> None:
    run_to_end(spec, tmp_path / "first")
    before = set(kept(spec, "answers"))
    other = make_tiny_checkpoint(tmp_path / "other", layers=4, seed=5)
    run_to_end(spec.model_copy(update={"model": other}), tmp_path / "second")
    assert len(kept(spec, "encoded")) == 2, "its tokenizer is the same"
    assert len(set(kept(spec, "answers")) - before) == 2


def test_a_guessed_piece_is_known_by_what_is_right_for_it(tmp_path: Path) -> None:
    """Of a row of one word nothing but the mask is seen: another word is another answer all the same."""
    (tmp_path / "cache").mkdir()
    drop = {"method": "layer_drop", "keep_layers": 1, "recovery": None}

    def before(word: str, **runtime: Path) -> dict[str, Measured]:
        folder = tmp_path / f"{word} {len(runtime)}"
        rows: dict[SplitName, Any] = {"validation": [{"text": word}] * 4}
        spec = make_spec(folder, [drop], task="fill-mask", layers=2, rows=rows, runtime={**runtime})
        return run_to_end(spec, folder / "out").before.metrics

    first = before("good", cache=tmp_path / "cache")
    assert before("film", cache=tmp_path / "cache") == before("film") != first


def test_what_another_version_made_is_made_again(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_to_end(spec, tmp_path / "first")
    before = kept(spec, "*")
    made_by.cache_clear()
    monkeypatch.setattr("compression.cache.EDITION", 0)
    run_to_end(spec, tmp_path / "second")
    made_by.cache_clear()
    assert len(kept(spec, "*")) == 2 * len(before)


def test_rows_are_kept_by_rows_tokenizer_and_task(spec: RunSpec, tmp_path: Path) -> None:
    data, source = spec.dataset, open_source(spec.model)
    shorter = spec.plan.task.model_copy(update={"max_length": spec.plan.task.max_length - 1})
    other_words = shutil.copytree(spec.model, tmp_path / "words")
    (other_words / "tokenizer_config.json").write_text('{"model_max_length": 9}')
    others: list[tuple[Source, SplitName, Task]] = [
        (source, "train", spec.plan.task),
        (source, "validation", spec.plan.task),
        (source, "train", shorter),
        (open_source(other_words), "train", spec.plan.task),
    ]
    for model, split, task in others:
        before = len(kept(spec, "encoded"))
        for _ in range(2):
            encode_split(model, data, split, task, spec.runtime.cache)
            assert len(kept(spec, "encoded")) == before + 1


def test_what_is_kept_is_what_counts(spec: RunSpec, tmp_path: Path) -> None:
    """The report's figures before would change with the kept answers: they are really read."""
    first = run_to_end(spec, tmp_path / "first")
    for file in kept(spec, "answers"):
        np.save(file, -np.load(file))
    turned = run_to_end(spec, tmp_path / "second")
    assert turned.before.metrics["accuracy"].value == pytest.approx(
        1 - first.before.metrics["accuracy"].value
    )


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\0" * 4096])
def test_a_damaged_file_is_made_again(spec: RunSpec, tmp_path: Path, content: bytes) -> None:
    run_to_end(spec, tmp_path / "first")
    for file in (*kept(spec, "encoded"), *kept(spec, "answers")):
        file.write_bytes(content)
    run_to_end(spec, tmp_path / "second")
    assert weights_of(tmp_path / "second") == weights_of(tmp_path / "first")
    assert all(file.read_bytes() != content for file in kept(spec, "answers"))


def test_a_file_that_can_be_neither_read_nor_written_costs_no_run(spec: RunSpec, tmp_path: Path) -> None:
    run_to_end(spec, tmp_path / "first")
    for file in (*kept(spec, "encoded"), *kept(spec, "answers")):
        file.unlink()
        file.mkdir()
    run_to_end(spec, tmp_path / "second")
    assert weights_of(tmp_path / "second") == weights_of(tmp_path / "first")
    assert all(file.is_dir() for file in kept(spec, "*")), "nothing half written is left"


def test_a_folder_that_takes_no_file_costs_no_run(spec: RunSpec, tmp_path: Path) -> None:
    missing = spec.runtime.model_copy(update={"cache": tmp_path / "gone"})
    run_to_end(spec.model_copy(update={"runtime": missing}), tmp_path / "out")
    assert not (tmp_path / "gone").exists()


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old", "older")):
        (tmp_path / name).write_bytes(b"0" * 10)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    forget_oldest(tmp_path, limit=20)
    assert {file.name for file in tmp_path.iterdir()} == {"new", "old"}
