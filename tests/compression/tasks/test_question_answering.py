"""Answers: counted as the official script does, learnt where they are, found over all windows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from compression.checkpoints.loading import load_tokenizer
from compression.errors import InputError
from compression.tasks.question_answering.behaviour import QuestionAnswering
from compression.tasks.question_answering.resolution import QuestionAnsweringTask, QuestionColumns
from compression.tasks.question_answering.scores import exact_match, f1
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import make_spec

TASK = QuestionAnsweringTask(
    columns=QuestionColumns(question="q", context="c", answers="a", answer_starts="s"),
    doc_stride=5,
    max_question_length=3,
    may_be_unanswered=True,
    max_length=16,
)
CONTEXT = " ".join(["the movie was good and the dog sees a big house"] * 3)


def table(answer: str | None) -> pa.Table:
    answers, starts = ([answer], [str(CONTEXT.rindex(answer))]) if answer else ([], [])
    return pa.table(
        {
            "question": ["who is it who is it"],
            "context": [CONTEXT],
            "answers": [answers],
            "answer_starts": [starts],
        }
    )


@pytest.mark.parametrize(
    ("answer", "golds", "exact", "overlap"),
    [
        ("The  cat!", ["a cat", "dog"], 1, 1),
        ("black cat", ["cat"], 0, 2 / 3),
        ("", [], 1, 1),
        ("cat", [], 0, 0),
        ("", ["cat"], 0, 0),
    ],
)
def test_answers_count_as_in_the_official_script(
    answer: str, golds: list[str], exact: float, overlap: float
) -> None:
    assert exact_match(answer, golds) == exact
    assert f1(answer, golds) == pytest.approx(overlap)


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_what_is_learnt_is_the_answer_in_whichever_window_it_is(tmp_path: Path, architecture: str) -> None:
    """Logits that are the labels themselves must give back the answer, or that there is none."""
    tokenizer = load_tokenizer(make_tiny_checkpoint(tmp_path, architecture, task="question-answering"))  # type: ignore[arg-type]
    longer = (
        {"max_length": 48, "doc_stride": 12} if architecture == "roberta" else {}
    )  # its pieces are characters
    task = QuestionAnswering(TASK.model_copy(update=longer))
    for answer in ("dog sees", None):
        encoded = task.encode(tokenizer, table(answer))
        assert len(encoded) > 2
        assert encoded.lengths.max() <= task.task.max_length
        assert encoded.sequences is not None
        assert encoded.sequences.tolist() == [0, len(encoded)]
        assert encoded.labels.sum() == 2 * len(encoded)
        logits = 10 * encoded.labels.astype(np.float32)
        logits[encoded.outputs[:-1]] -= (
            1  # a window without the answer is no reason to say that there is none
        )
        assert task.answer(logits, encoded, 0) == (answer or "")
        assert task.score("f1", logits, encoded) == 1


def test_an_answer_that_is_not_where_it_should_be_is_refused(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_tiny_checkpoint(tmp_path, task="question-answering"))
    wrong = table("dog").set_column(3, "answer_starts", pa.array([["1"]]))
    with pytest.raises(InputError, match="row 1"):
        QuestionAnswering(TASK).encode(tokenizer, wrong)


DROP = {"method": "layer_drop", "keep_layers": 1}


def settled(folder: Path, **how: Any) -> QuestionAnsweringTask:
    task = make_spec(folder, [DROP], task="question-answering", layers=2, **how).plan.task
    assert isinstance(task, QuestionAnsweringTask)
    return task


def test_without_answers_it_must_be_said_whether_there_may_be_none(tmp_path: Path) -> None:
    bare: Any = {"unlabelled": ["train", "validation"]}
    with pytest.raises(InputError, match=r"set task\.may_be_unanswered") as refused:
        settled(tmp_path / "a", **bare)
    assert refused.value.problems[0].code == "unknown_if_unanswered"
    assert refused.value.problems[0].place == "/task/may_be_unanswered"
    for said in (True, False):
        task = settled(tmp_path / str(said), **bare, settings={"may_be_unanswered": said})
        assert task.may_be_unanswered is said


def test_answers_tell_whether_there_may_be_none_unless_it_is_said(tmp_path: Path) -> None:
    assert settled(tmp_path / "a").may_be_unanswered
    assert not settled(tmp_path / "b", settings={"may_be_unanswered": False}).may_be_unanswered


def test_windows_that_cannot_share_so_much_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="windows of 64 word pieces can share 19 at most, not 20") as refused:
        settled(tmp_path / "a", settings={"doc_stride": 20})
    assert refused.value.problems[0].place == "/task/doc_stride"
    assert settled(tmp_path / "b", settings={"doc_stride": 19}).doc_stride == 19
    assert settled(tmp_path / "c").doc_stride == 19


def test_how_to_say_that_there_are_no_answers_is_told(tmp_path: Path) -> None:
    rows: Any = dict.fromkeys(
        ("train", "validation"), [{"title": "t", "question": "who", "context": "dog"}] * 4
    )
    with pytest.raises(InputError, match=r"name it in task\.columns\.answers, or set it to null"):
        settled(tmp_path / "a", rows=rows)
    null = {"columns": {"answers": None}, "may_be_unanswered": True}
    assert settled(tmp_path / "b", rows=rows, settings=null).judged_by == "original"
