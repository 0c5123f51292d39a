"""Tags belong to words, whatever pieces these are cut into; entities are scored as seqeval scores them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from seqeval import metrics as seqeval

from compression.checkpoints.facts import Architecture
from compression.checkpoints.loading import load_tokenizer
from compression.data.encoding import Array
from compression.data.summary import SplitName
from compression.errors import InputError
from compression.spec import RunSpec
from compression.tasks.token_classification.behaviour import TokenClassification
from compression.tasks.token_classification.resolution import TokenClassificationTask, TokenColumns
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import make_spec, predictions_of, run_to_end

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


DROP = {"method": "layer_drop", "keep_layers": 1, "recovery": {"max_steps": 1, "batch_size": 8}}
TAGGED = {"tokens": ["good", "dog"], "tags": ["B-thing", "O"]}
UNTAGGED = {"tokens": ["good", "dog"], "tags": []}
NO_WORDS: dict[str, list[str]] = {"tokens": [], "tags": []}


def test_rows_to_learn_from_are_tagged_by_the_original_where_they_have_no_tags(tmp_path: Path) -> None:
    rows: dict[SplitName, Any] = {
        "train": [TAGGED, UNTAGGED, NO_WORDS] * 8,
        "validation": [TAGGED, NO_WORDS] * 4,
    }
    spec = make_spec(tmp_path, [DROP], task="token-classification", layers=2, rows=rows)
    assert spec.plan.task.judged_by == "labels"
    assert run_to_end(spec, tmp_path / "out").metric == "f1"


def test_rows_to_measure_by_are_all_tagged_or_none(tmp_path: Path) -> None:
    def judged_by(*rows: dict[str, list[str]]) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        own: dict[SplitName, Any] = {"validation": list(rows)}
        spec = make_spec(folder, [DROP], task="token-classification", layers=2, rows=own)
        return spec.plan.task.judged_by

    assert judged_by(UNTAGGED, NO_WORDS, UNTAGGED) == "original"
    with pytest.raises(InputError, match="'tags' is empty in 1 rows") as refused:
        judged_by(TAGGED, UNTAGGED, NO_WORDS)
    assert refused.value.code == "missing_labels"


def test_two_models_that_find_nothing_agree(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_tiny_checkpoint(tmp_path, task="token-classification"))
    task = TokenClassification(TASK.model_copy(update={"judged_by": "original"}))
    bare = task.encode(tokenizer, pa.table({"tokens": [["good", "dog"], ["cat"]]}))

    def saying(*tags: str) -> Array:
        return np.eye(5, dtype=np.float32)[[LABELS.index(tag) for tag in tags]]

    nothing, something = saying("O", "O", "O"), saying("O", "O", "B-a")
    data = task.labelled(nothing, bare)
    assert task.score("loyalty", nothing, data) == 1
    assert task.score("loyalty", something, data) == 0
    assert task.statistic("loyalty", something, data)(np.array([0, 0])) == 1
    assert task.score("f1", nothing, data) == 0, "of a metric there is nothing to say"
    assert task.score("loyalty", nothing, task.labelled(something, bare)) == 0


def test_one_answer_for_all_words_is_doubted_where_they_have_several(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_tiny_checkpoint(tmp_path, task="token-classification"))
    task, tokens = TokenClassification(TASK), [["good", "dog"]]
    logits = np.eye(5, dtype=np.float32)[[0, 0]]
    for tags, doubted in ((["O", "B-a"], True), (["O", "O"], False), (["B-b", "B-b"], False)):
        data = task.encode(tokenizer, pa.table({"tokens": tokens, "tags": [tags]}))
        assert bool(task.doubt(logits, data)) == doubted


@pytest.mark.parametrize("split", ["train", "validation"])
def test_rows_without_a_word_that_the_tokenizer_knows_are_refused(tmp_path: Path, split: SplitName) -> None:
    invisible: dict[SplitName, Any] = {split: [{"tokens": ["\u200b"], "tags": ["O"]}, NO_WORDS] * 4}
    spec = make_spec(tmp_path, [DROP], task="token-classification", layers=2, rows=invisible)
    with pytest.raises(InputError, match="'tokens' holds no word") as refused:
        run_to_end(spec, tmp_path / "out")
    assert (refused.value.code, refused.value.problems[0].place) == ("no_text", "/task/columns/tokens")


def test_a_word_without_a_tag_is_named(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_tiny_checkpoint(tmp_path, task="token-classification"))
    table = pa.table({"tokens": [["a"], ["the", "dog"]], "tags": [["O"], ["B-a", ""]]})
    with pytest.raises(InputError, match="row 2: word 2 has no tag") as refused:
        TokenClassification(TASK).encode(tokenizer, table)
    assert refused.value.code == "missing_tag"


def test_entities_are_known_by_the_tags_of_the_dataset_where_the_model_has_no_names(tmp_path: Path) -> None:
    numbered = ("LABEL_0", "LABEL_1", "LABEL_2")
    meaning = {"O": "LABEL_0", "B-thing": "LABEL_2", "I-thing": "LABEL_1"}

    def spec(meaning: dict[str, str]) -> RunSpec:
        folder = tmp_path / str(len(meaning))
        settings = {"labels": meaning}
        return make_spec(
            folder, [DROP], task="token-classification", layers=2, labels=numbered, settings=settings
        )

    report = run_to_end(spec(meaning), tmp_path / "out")
    assert (report.metric, [result.label for result in report.before.classes]) == ("f1", ["thing"])
    rows = predictions_of(tmp_path / "out")
    true, said = ([row[name] for row in rows] for name in ("tags", "before_answer"))
    assert report.before.metrics["f1"].value == pytest.approx(seqeval.f1_score(true, said))
    with pytest.raises(InputError, match="none of them means 'LABEL_1'") as refused:
        spec({tag: label for tag, label in meaning.items() if tag != "I-thing"})
    assert refused.value.problems[0].place == "/task/labels"
