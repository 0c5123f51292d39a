"""Encoded rows without a tokenizer."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from compression.data.encoding import Array, Encoded, offsets_of
from compression.tasks.text_classification.resolution import TextClassificationTask, TextColumns


def classification(*, regression: bool = False, max_length: int = 64) -> TextClassificationTask:
    return TextClassificationTask(
        problem_type="regression" if regression else "single_label",
        columns=TextColumns(text="text", label="label"),
        labels={"negative": 0, "positive": 1},
        label_names=["negative", "positive"],
        max_length=max_length,
    )


def of_rows(task: TextClassificationTask, labels: Array, lengths: Sequence[int] | None = None) -> Encoded:
    """Rows whose word pieces are all the number of the row, counted from 1."""
    rows = len(labels)
    lengths = lengths or [3] * rows
    return Encoded(
        task=task,
        table=pa.table({"text": ["text"] * rows, "label": ["label"] * rows}),
        pieces=np.repeat(np.arange(1, rows + 1, dtype=np.int32), lengths),
        offsets=offsets_of(lengths),
        segments=None,
        labels=labels,
        outputs=np.arange(rows + 1),
        pad_piece=0,
        cut=np.zeros(rows, dtype=np.bool_),
    )
