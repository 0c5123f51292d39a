"""What a corpus needs stays as well; where its texts are is known before any compute."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from compression.checkpoints.loading import open_source
from compression.errors import InputError
from compression.methods.trim_vocabulary.params import TrimVocabularyParams
from compression.spec import RunSpec
from tests.checkpoints import WORDS
from tests.compression.jobs import make_spec, run_to_end, write_lines

RARE = ("very", "never")
"""Of the words that the training rows hold."""
FEW = 0.795
"""A share in which two words have room beside the characters."""


def spec_of(folder: Path, corpus: Path, settings: dict[str, Any] | None = None) -> RunSpec:
    trim = {"method": "trim_vocabulary", "keep_share": FEW, "corpus": str(corpus), **(settings or {})}
    rows = [{"text": " ".join([*WORDS, "the movie"]), "label": "positive"}] * 4
    folder.mkdir()
    return make_spec(folder, [trim], rows={"train": rows, "validation": rows}, layers=1)


def texts(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(lines), "utf-8")
    return path


def words_left(spec: RunSpec, out: Path) -> set[str]:
    run_to_end(spec, out)
    return set(open_source(out / "model").tokenizer.vocab) & {word for word in WORDS if len(word) > 1}


def test_pieces_of_the_corpus_and_of_the_training_rows_stay(tmp_path: Path) -> None:
    for times in (1, 300):
        corpus = texts(tmp_path / f"{times}.txt", ["very never", "never very"] * times)
        found = words_left(spec_of(tmp_path / str(times), corpus), tmp_path / f"out{times}")
        assert found == set(RARE), "what is used most of both together, however large the corpus is"
    once = texts(tmp_path / "once.txt", ["very"])
    assert words_left(spec_of(tmp_path / "b", once), tmp_path / "out") == {"very", "the"}


def test_what_of_the_corpus_has_no_room_is_told(tmp_path: Path) -> None:
    corpus = texts(tmp_path / "c.txt", ["very never sees", "very never"])
    report = run_to_end(spec_of(tmp_path / "a", corpus), tmp_path / "out")
    (said,) = (warning for warning in report.warnings if "of the corpus" in warning)
    assert said.startswith("1 word pieces of the corpus, 20.00% of the text, do not fit")


@pytest.mark.parametrize(
    ("row", "settings", "columns"),
    [
        ({"anything": "good"}, {}, ["anything"]),
        ({"title": "good", "text": "bad", "size": 1}, {}, ["text"]),
        ({"title": "good", "size": 1}, {}, ["title"]),
        ({"title": "good", "body": "bad"}, {"corpus_columns": ["title", "body"]}, ["title", "body"]),
        ({"title": "good", "empty": ""}, {}, ["title"]),
    ],
)
def test_the_columns_of_texts_are_found(
    tmp_path: Path, row: dict[str, Any], settings: dict[str, Any], columns: list[str]
) -> None:
    corpus = write_lines(tmp_path / "c.jsonl", [row] * 2)
    (step,) = spec_of(tmp_path / "a", corpus, settings).plan.steps
    assert isinstance(step, TrimVocabularyParams)
    assert step.corpus_columns == columns


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str, str, str]] = {
    "two columns": ({"a": "x", "b": "y"}, {}, "ambiguous_corpus_columns", "_columns", "could be in a, b"),
    "no such column": ({"a": "x"}, {"corpus_columns": ["b"]}, "missing_column", "_columns", "only a"),
    "a list": ({"a": "x", "b": ["y"]}, {"corpus_columns": ["b"]}, "missing_column", "_columns", "only a"),
    "numbers": ({"a": 1, "b": 2}, {}, "no_text", "", "no text in a, b"),
    "empty": ({"text": ""}, {}, "no_text", "", "no text in text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_corpus_without_clear_texts_is_refused(tmp_path: Path, case: str) -> None:
    row, settings, code, place, words = REFUSED[case]
    corpus = write_lines(tmp_path / "c.jsonl", [row] * 2)
    with pytest.raises(InputError, match=words) as refused:
        spec_of(tmp_path / "a", corpus, settings)
    (problem,) = refused.value.problems
    assert (problem.code, problem.place) == (code, f"/steps/0/corpus{place}")


def test_a_corpus_that_is_not_there_or_holds_blanks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no dataset") as refused:
        spec_of(tmp_path / "a", tmp_path / "nowhere.txt")
    assert refused.value.code == "unknown_dataset"
    blanks = write_lines(tmp_path / "c.jsonl", [{"text": " "}])
    with pytest.raises(InputError, match="holds no word piece in text") as refused:
        run_to_end(spec_of(tmp_path / "b", blanks), tmp_path / "out")
    assert refused.value.problems[0].place == "/steps/0/corpus"


def test_columns_without_a_corpus_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="name one, or leave them out"):
        TrimVocabularyParams(corpus_columns=["text"])
