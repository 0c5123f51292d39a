"""Tags belong to words, whatever pieces these are cut into; entities are scored as seqeval scores them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from seqeval import metrics as seqeval

from compression.checkpoints.facts import Architecture
from compression.checkpoints.loading import load_tokenizer
from compression.tasks.token_classification.behaviour import TokenClassification
from compression.tasks.token_classification.resolution import TokenClassificationTask, TokenColumns
from tests.checkpoints import make_tiny_checkpoint

LABELS = ["O", "B-a", "I-a", "B-b", "I-b"]
TASK = TokenClassificationTask(
    scheme="entities",
    columns=TokenColumns(tokens="tokens", tags="tags"),
    labels={name: i for i, name in enumerate(LABELS)},
    label_names=LABELS,
    max_length=12,
)
TOKENS = [["the", "unseen", "dog"], [], ["a"] * 20, ["good", "\u200d", "cat"]]
TAGS = [["O", "B-a", "I-a"], [], ["B-b"] * 20, ["B-a", "O", "I-b"]]


@pytest.mark.parametrize("architecture", ["bert", "roberta", "gpt2"])
def test_a_word_has_one_output_unless_it_is_cut_off(tmp_path: Path, architecture: Architecture) -> None:
    tokenizer = load_tokenizer(make_tiny_checkpoint(tmp_path, architecture, task="token-classification"))
    task = TokenClassification(TASK)
    data = task.encode(tokenizer, pa.table({"tokens": TOKENS, "tags": TAGS}))
    words, labels = data.extra["words"], data.labels
    assert data.lengths.max() <= 12
    for row, tags in enumerate(TAGS):
        own = data.of_row(words, row).tolist()
        assert own == sorted(set(own))
        assert [LABELS[i] for i in data.of_row(labels, row)] == [tags[word] for word in own]
    logits = np.eye(5, dtype=np.float32)[labels]
    assert task.score("f1", logits, data) == task.score("accuracy", logits, data) == 1
    cut = task.answer(logits, data, 2)
    assert cut[0] == "B-b"
    assert cut[-1] is None


def test_scores_are_those_of_seqeval_whatever_the_rows(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_tiny_checkpoint(tmp_path, task="token-classification"))
    random = np.random.default_rng(0)
    tags = [random.choice(LABELS, size=n).tolist() for n in random.integers(1, 9, 60)]
    data = TokenClassification(TASK).encode(
        tokenizer, pa.table({"tokens": [["good"] * len(row) for row in tags], "tags": tags})
    )
    logits = random.normal(size=(len(data.labels), 5)) + np.eye(5)[data.labels]
    said = [[LABELS[i] for i in data.of_row(logits, row).argmax(axis=1)] for row in range(60)]
    rows = random.integers(0, 60, 60)
    true, predicted = [tags[row] for row in rows], [said[row] for row in rows]
    task = TokenClassification(TASK)
    for name, theirs in (
        ("f1", seqeval.f1_score),
        ("precision", seqeval.precision_score),
        ("recall", seqeval.recall_score),
        ("accuracy", seqeval.accuracy_score),
    ):
        assert task.metric(name, logits, data)(rows) == pytest.approx(theirs(true, predicted))  # type: ignore[arg-type]
    report = seqeval.classification_report(tags, said, output_dict=True)
    for result in task.classes(logits, data):
        assert result.f1 == pytest.approx(report[result.label]["f1-score"])
        assert result.rows == report[result.label]["support"]
