"""Token classification: a tag for each word, either parts of entities (`B-person`, `I-person`, `O`) or plain tags."""

import re
from typing import ClassVar, Literal

from compression.checkpoints.facts import ModelFacts
from compression.data.summary import Column, DatasetSummary, SplitName
from compression.settings import Settings
from compression.tasks.columns import (
    BaseRequest,
    BaseTask,
    MetricName,
    Splits,
    all_columns,
    check_columns,
    check_kind,
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
    """Null for rows without tags: the original tags them."""


class TokenClassificationRequest(BaseRequest):
    type: Literal["token-classification"]
    columns: RequestedTokenColumns = RequestedTokenColumns()
    labels: dict[str, str] | None = None
    """Which label of the model each tag of the dataset means; needed where the names differ."""


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
    """The model's names by class id."""

    @property
    def usual_metrics(self) -> tuple[MetricName, ...]:
        return METRICS[self.scheme]


def resolve(
    request: TokenClassificationRequest,
    model: ModelFacts,
    dataset: DatasetSummary,
    used: Splits,
    evaluation: SplitName,
) -> TokenClassificationTask:
    """Settle columns and labels. Raises InputError."""
    check_columns(request.columns, dataset, "tags")
    columns = _resolve_columns(request.columns, model, all_columns(used))
    check_kind(used, "tokens", columns.tokens, ("list",))
    tagged = having(used, columns.tags) if columns.tags else {}
    check_kind(tagged, "tags", columns.tags or "", ("list",))
    entities = all(PART_OF_ENTITY.fullmatch(name) for name in model.labels)
    return TokenClassificationTask(
        scheme="entities" if entities else "tags",
        columns=columns,
        labels=resolve_labels(request.labels, "tags", columns.tags or "", model, tagged),
        label_names=model.labels,
        max_length=resolve_max_length(request.max_length, model),
        judged_by=judged_by("tags", columns.tags, used, evaluation, empty_means_missing=False),
    )


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
