"""Token classification: a tag for each word, either parts of entities (`B-person`, `I-person`, `O`) or plain tags."""

import re
from typing import ClassVar, Literal

from compression.checkpoints.facts import ModelFacts
from compression.data.summary import Column, DatasetSummary
from compression.settings import Settings
from compression.tasks.columns import (
    BaseRequest,
    BaseTask,
    MetricName,
    Splits,
    check_columns,
    check_kind,
    guess,
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


class TokenClassificationRequest(BaseRequest):
    type: Literal["token-classification"]
    columns: RequestedTokenColumns = RequestedTokenColumns()
    labels: dict[str, str] | None = None
    """Which label of the model each tag of the dataset means; needed where the names differ."""


class TokenColumns(Settings):
    tokens: str
    tags: str


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
    def metrics(self) -> tuple[MetricName, ...]:
        return METRICS[self.scheme]


def resolve(
    request: TokenClassificationRequest, model: ModelFacts, dataset: DatasetSummary, used: Splits
) -> TokenClassificationTask:
    """Settle columns and labels. Raises InputError."""
    check_columns(request.columns, dataset)
    columns = _resolve_columns(request.columns, model, [*dataset.splits["train"].columns])
    for role, name in columns.model_dump().items():
        check_kind(used, role, name, ("list",))
    entities = all(PART_OF_ENTITY.fullmatch(name) for name in model.labels)
    return TokenClassificationTask(
        scheme="entities" if entities else "tags",
        columns=columns,
        labels=resolve_labels(request.labels, "tags", columns.tags, model, used),
        label_names=model.labels,
        max_length=resolve_max_length(request.max_length, model),
    )


def _resolve_columns(
    requested: RequestedTokenColumns, model: ModelFacts, columns: list[Column]
) -> TokenColumns:
    lists = [column for column in columns if column.kind == "list"]
    tags = requested.tags or guess(
        "tags",
        (column for column in lists if column.name != requested.tokens),
        lambda column: may_be_labels(column, model),
        lambda column: column.name.lower() in TAG_NAMES,
        lambda column: column.distinct is not None,
    )
    tokens = requested.tokens or guess(
        "tokens",
        (column for column in lists if column.name != tags),
        lambda column: column.name.lower() in TOKEN_NAMES,
        lambda column: column.distinct is None,
    )
    return TokenColumns(tokens=tokens, tags=tags)
