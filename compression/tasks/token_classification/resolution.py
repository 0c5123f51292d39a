"""Token classification: a tag for each word, either parts of entities (`B-person`, `I-person`, `O`) or plain tags."""

import re
from collections.abc import Iterable
from typing import ClassVar, Literal

from compression.checkpoints.facts import ModelFacts
from compression.data.summary import Column, SplitName
from compression.errors import InputError, Problem
from compression.settings import Settings
from compression.tasks.columns import (
    BaseRequest,
    BaseTask,
    MetricName,
    Splits,
    all_columns,
    check_columns,
    check_kind,
    columns_named,
    guess,
    having,
    judged_by,
    may_be_labels,
    resolve_labels,
    resolve_max_length,
)

Scheme = Literal["entities", "tags"]
METRICS: dict[Scheme, tuple[MetricName, ...]] = {
    "entities": ("f1", "precision", "recall", "accuracy"),
    "tags": ("accuracy", "f1_macro"),
}
TOKEN_NAMES = ("tokens", "words", "forms")
TAG_NAMES = ("tags", "labels", "ner_tags", "pos_tags", "ner", "pos")
PART_OF_ENTITY = re.compile(r"O|[BIESLU]-.+")


class RequestedTokenColumns(Settings):
    tokens: str | None = None
    tags: str | None = None
    """Null for rows without tags: the original tags them, and rows to learn from whose list is empty."""


class TokenClassificationRequest(BaseRequest):
    type: Literal["token-classification"]
    columns: RequestedTokenColumns = RequestedTokenColumns()
    labels: dict[str, str] | None = None
    """Which label of the model each tag of the dataset means; needed where the names differ. Where the model's are not
    the parts of entities (`B-person`) that the tags are, a tag for each of them."""


class TokenColumns(Settings):
    tokens: str
    tags: str | None = None


class TokenClassificationTask(BaseTask):
    """A tag for each word."""

    READ: ClassVar[tuple[str, ...]] = ("tokens",)

    type: Literal["token-classification"] = "token-classification"
    scheme: Scheme
    """Whether tags are parts of entities, which are counted as a whole, or each for itself."""
    columns: TokenColumns
    labels: dict[str, int]
    """Class id of each tag of the dataset."""
    label_names: list[str]
    """What the tag of each class is called, by class id: the model's name, or the dataset's where only it tells of
    entities."""

    @property
    def usual_metrics(self) -> tuple[MetricName, ...]:
        return METRICS[self.scheme]


def resolve(
    request: TokenClassificationRequest,
    model: ModelFacts,
    used: Splits,
    evaluation: SplitName,
) -> TokenClassificationTask:
    """Settle columns and labels. Raises InputError."""
    check_columns(request.columns, used, "tags")
    columns = _resolve_columns(request.columns, model, all_columns(used))
    check_kind(used, "tokens", columns.tokens, ("list",))
    tagged = having(used, columns.tags) if columns.tags else {}
    check_kind(tagged, "tags", columns.tags or "", ("list",))
    names = _names_of_tags(request.labels, model)
    without_words = dict(columns_named(used, columns.tokens))[evaluation].empty
    return TokenClassificationTask(
        scheme="entities" if _are_parts_of_entities(names) else "tags",
        columns=columns,
        labels=resolve_labels(request.labels, "tags", columns.tags or "", model, tagged),
        label_names=names,
        max_length=resolve_max_length(request.max_length, model),
        judged_by=judged_by("tags", columns.tags, used, evaluation, rightly_empty=without_words),
    )


def _names_of_tags(meaning: dict[str, str] | None, model: ModelFacts) -> list[str]:
    """What the tag of each class is called: as the dataset does, where only it tells which are parts of entities.

    Raises:
        InputError: it does not tell that of a class.
    """
    if not meaning or _are_parts_of_entities(model.labels) or not _are_parts_of_entities(meaning):
        return model.labels
    # Of B and I that mean one label it is I, which joins words.
    tags = {label: tag for tag, label in sorted(meaning.items())}
    untold = [label for label in model.labels if label not in tags]
    if untold:
        message = (
            f"the tags are parts of entities, and none of them means {untold[0]!r}: name a tag for each label of the "
            "model, also for those that no row has"
        )
        raise InputError(Problem("labels_without_tags", message, "/task/labels"))
    return [tags[label] for label in model.labels]


def _are_parts_of_entities(tags: Iterable[str]) -> bool:
    return all(map(PART_OF_ENTITY.fullmatch, tags))


def _resolve_columns(
    requested: RequestedTokenColumns, model: ModelFacts, columns: list[Column]
) -> TokenColumns:
    lists = [column for column in columns if column.kind == "list"]
    untagged = len(lists) == 1 or "tags" in requested.model_fields_set
    tags = (
        requested.tags
        if untagged
        else guess(
            "tags",
            (column for column in lists if column.name != requested.tokens),
            lambda column: may_be_labels(column, model),
            lambda column: column.name.lower() in TAG_NAMES,
            lambda column: column.distinct is not None,
        )
    )
    tokens = requested.tokens or guess(
        "tokens",
        (column for column in lists if column.name != tags),
        lambda column: column.name.lower() in TOKEN_NAMES,
        lambda column: column.distinct is None,
    )
    return TokenColumns(tokens=tokens, tags=tags)
