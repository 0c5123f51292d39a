"""Columns and labels: what is inferred, and what is refused with its candidates."""

from typing import Any

import pytest

from compression.checkpoints.facts import ModelFacts
from compression.data.summary import Column, DatasetSummary, Lengths, Split
from compression.errors import InputError
from compression.tasks.resolution import REQUEST, resolve_metrics, resolve_task

LENGTHS = Lengths(mean=1, p50=1, p95=1, p99=1, max=1)


def model(*labels: str, regression: bool = False) -> ModelFacts:
    return ModelFacts(
        architecture="bert", task="text-classification", problem_type="regression" if regression else "single_label",
        labels=list(labels), layers=2, hidden_size=8, attention_heads=2, intermediate_size=8, vocabulary_size=10,
        max_length=64, parameters=1, bytes=1, dtype="F32",
    )  # fmt: skip


def column(name: str, kind: Any, *values: str, empty: int = 0) -> Column:
    numbers = list(map(float, values)) if kind in ("integer", "number") else []
    return Column(
        name=name,
        kind=kind,
        empty=empty,
        distinct=dict.fromkeys(values, 1) if values else None,
        minimum=min(numbers, default=None),
        maximum=max(numbers, default=None),
        lengths=LENGTHS,
    )


def dataset(*columns: Column, validation: bool = True) -> DatasetSummary:
    split = Split(rows=4, columns=list(columns), duplicates=0)
    splits: Any = {"train": split, "validation": split} if validation else {"train": split}
    return DatasetSummary(splits=splits, leaked_rows={}, warnings=[])


def resolve(facts: ModelFacts, summary: DatasetSummary, **request: Any) -> Any:
    settled = REQUEST.validate_python({"type": facts.task, **request}) if request else None
    return resolve_task(settled, facts, summary, "validation")


def refusal(facts: ModelFacts, summary: DatasetSummary, **request: Any) -> tuple[str, str, str]:
    with pytest.raises(InputError) as refused:
        resolve(facts, summary, **request)
    problem = refused.value.problems[0]
    return problem.code, problem.place, problem.message


TEXT = column("sentence", "text")
SENTIMENT = model("negative", "positive")


def test_text_and_label_are_inferred() -> None:
    task = resolve(SENTIMENT, dataset(TEXT, column("label", "text", "negative", "positive")))
    assert (task.columns.text, task.columns.text_pair, task.columns.label) == ("sentence", None, "label")
    assert task.labels == {"negative": 0, "positive": 1}


def test_labels_go_by_name_whatever_their_order() -> None:
    task = resolve(model("1", "0"), dataset(TEXT, column("label", "integer", "0", "1")))
    assert task.labels == {"0": 1, "1": 0}


def test_class_ids_are_taken_for_labels_without_names() -> None:
    task = resolve(model("LABEL_0", "LABEL_1"), dataset(TEXT, column("label", "integer", "0", "1")))
    assert task.labels == {"0": 0, "1": 1}


def test_class_ids_of_named_labels_are_not_guessed() -> None:
    code, place, message = refusal(SENTIMENT, dataset(TEXT, column("label", "integer", "0", "1")))
    assert (code, place) == ("labels_do_not_match", "/task/columns/label")
    assert '"0": "negative"' in message


def test_the_meaning_of_labels_can_be_told() -> None:
    labels = {"bad": "negative", "good": "positive"}
    task = resolve(SENTIMENT, dataset(TEXT, column("label", "text", "bad", "good")), labels=labels)
    assert task.labels == {"bad": 0, "good": 1}


def test_a_label_outside_the_models_is_named() -> None:
    code, _, message = refusal(SENTIMENT, dataset(TEXT, column("label", "text", "negative", "neutral")))
    assert code == "labels_do_not_match"
    assert "'neutral'" in message


def test_sentence_pairs_are_known_by_their_names() -> None:
    pair = (column("sentence1", "text"), column("sentence2", "text"), column("score", "number", "0.5", "5"))
    task = resolve(model("LABEL_0", regression=True), dataset(*pair))
    assert (task.columns.text, task.columns.text_pair, task.columns.label) == (
        "sentence1",
        "sentence2",
        "score",
    )
    assert task.problem_type == "regression"


@pytest.mark.parametrize(
    ("columns", "request_", "code", "place"),
    [
        ((TEXT, column("number", "integer", "7")), {}, "no_label_column", "/task/columns/label"),
        ((TEXT, column("title", "text"), column("label", "text", "negative")), {}, "ambiguous_text_column",
         "/task/columns/text"),
        ((TEXT, column("label", "text", "negative"), column("class", "text", "negative")), {}, "ambiguous_label_column",
         "/task/columns/label"),
        ((TEXT, column("label", "text", "negative")), {"columns": {"text": "body"}}, "missing_column",
         "/task/columns/text"),
        ((TEXT, column("label", "text", "negative", empty=3)), {}, "missing_labels", "/task/columns/label"),
        ((TEXT, column("label", "text")), {}, "no_label_column", "/task/columns/label"),
        ((TEXT, column("label", "text", "negative")), {"max_length": 4000}, "max_length_too_large", "/task/max_length"),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_refused(columns: Any, request_: Any, code: str, place: str) -> None:
    assert refusal(SENTIMENT, dataset(*columns), **request_)[:2] == (code, place)


@pytest.mark.parametrize(
    "columns", [(TEXT,), (TEXT, column("label", "text", "", empty=4)), (TEXT, column("note", "text"))]
)
def test_rows_without_labels_are_judged_by_the_original(columns: Any) -> None:
    request = {"columns": {"text": "sentence", "label": None}} if columns[-1].name == "note" else {}
    task = resolve(SENTIMENT, dataset(*columns), **request)
    assert (task.judged_by, task.metrics) == ("original", ("loyalty",))


def test_scores_must_be_numbers() -> None:
    code, *_ = refusal(
        model("LABEL_0", regression=True), dataset(TEXT, column("score", "text", "high", "low"))
    )
    assert code == "labels_not_numeric"


@pytest.mark.parametrize(("score", "says"), [("1e39", "holds 1e+39"), ("-1.5e12", "holds -1.5e+12")])
def test_scores_are_numbers_whose_squares_can_be_computed(score: str, says: str) -> None:
    regression = model("LABEL_0", regression=True)
    code, place, message = refusal(regression, dataset(TEXT, column("score", "number", "0.5", score)))
    assert (code, place) == ("score_too_large", "/task/columns/label")
    assert says in message
    assert resolve(regression, dataset(TEXT, column("score", "number", "-1e12", "1e12"))).labels == {}


def test_a_missing_split_is_named() -> None:
    code, place, _ = refusal(SENTIMENT, dataset(TEXT, column("label", "text", "negative"), validation=False))
    assert (code, place) == ("missing_split", "/dataset")


def test_texts_may_be_numbers_where_their_column_is_called_so() -> None:
    numbers, label = column("Text", "integer", "3", "4"), column("label", "text", "negative")
    assert resolve(SENTIMENT, dataset(numbers, label)).columns.text == "Text"
    assert resolve(SENTIMENT, dataset(numbers)).columns.text == "Text"
    columns = {"text": "size"}
    task = resolve(SENTIMENT, dataset(column("size", "integer", "3"), label), columns=columns)
    assert task.columns.text == "size"
    for others, found in (
        ((column("size", "integer", "3"), label), "is not there"),
        ((column("text", "list"), label), "is not there"),
        ((numbers, column("title", "text"), label), "could be Text, title"),
    ):
        code, _, message = refusal(SENTIMENT, dataset(*others))
        assert code == "ambiguous_text_column"
        assert found in message


def test_the_metric_must_fit_the_task() -> None:
    task = resolve(SENTIMENT, dataset(TEXT, column("label", "text", "negative", "positive")))
    assert resolve_metrics(None, None, task) == ["accuracy", "f1", "f1_macro", "mcc"]
    assert resolve_metrics("mcc", ["f1", "mcc"], task) == ["mcc", "f1"]
    assert resolve_metrics(None, ["f1"], task) == ["f1"]
    with pytest.raises(InputError):
        resolve_metrics("pearson", None, task)
    with pytest.raises(InputError):
        resolve_metrics(None, ["accuracy", "recall"], task)
