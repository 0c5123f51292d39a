"""SQuAD's JSON: a row for each question, and what is wrong with its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.compression.data.test_readers import problems_of, read_bytes

QUESTION = {"id": "q1", "question": "Who sleeps?", "answers": [{"text": "Ada", "answer_start": 4}]}
IMPOSSIBLE = {"id": "q2", "question": "Why?", "is_impossible": True, "answers": []}


def squad(*questions: dict[str, Any], context: str = "Now Ada sleeps.") -> str:
    paragraph = {"context": context, "qas": list(questions), "document_id": 3}
    return json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": [paragraph]}]})


def test_each_question_is_a_row(tmp_path: Path) -> None:
    columns, rows = read_bytes(squad(QUESTION, IMPOSSIBLE), ".json", tmp_path)
    assert columns == ["id", "question", "context", "answers", "answer_starts"]
    assert rows[0][1:] == ("Who sleeps?", "Now Ada sleeps.", ("Ada",), ("4",))
    assert rows[1][3:] == ((), ())


def test_answers_as_an_object_of_lists_become_columns(tmp_path: Path) -> None:
    row = '{"question": "q", "context": "c a", "answers": {"text": ["a"], "answer_start": [2]}}'
    columns, rows = read_bytes(row, ".jsonl", tmp_path)
    assert columns == ["question", "context", "answers.text", "answers.answer_start"]
    assert rows == [("q", "c a", ("a",), ("2",))]


@pytest.mark.parametrize(
    ("content", "code", "place"),
    [
        ("[]", "invalid_json", ""),
        ('{"rows": []}', "not_squad", ""),
        ('{"data": []}', "no_rows", ""),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', "not_squad", "#/data/0/paragraphs/0/context"),
        (squad(QUESTION | {"answers": [{"text": "Bob", "answer_start": 4}]}), "answer_not_in_context",
         " question q1"),
        (squad(QUESTION | {"question": "a\0b"}), "nul_character", " question q1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(content: str, code: str, place: str, tmp_path: Path) -> None:
    assert problems_of(content, ".json", tmp_path)[0] == (code, place)
