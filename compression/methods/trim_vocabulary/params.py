"""Settings of vocabulary trimming."""

from collections.abc import Mapping
from math import ceil, floor
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from compression.checkpoints.facts import Architecture, TaskType
from compression.data.summary import DatasetSummary
from compression.errors import InputError, Problem
from compression.methods.params import MethodParams
from compression.methods.shape import ModelShape
from compression.methods.trim_vocabulary.corpus import columns_of_texts
from compression.tasks.columns import BaseTask


class TrimVocabularyParams(MethodParams):
    """Keep the word pieces that the training rows and a corpus use, and the most frequent others; drop the rest."""

    PAPER: ClassVar[str] = (
        "Abdaoui et al., Load What You Need: Smaller Versions of Multilingual BERT, SustaiNLP 2020"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = get_args(Architecture)
    # Other pieces are other outputs, where they are answered piece by piece: before and after could not be compared.
    TASKS: ClassVar[tuple[TaskType, ...]] = ("text-classification", "sentence-similarity")

    method: Literal["trim_vocabulary"] = "trim_vocabulary"
    keep_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the vocabulary that stays. Special tokens and single characters come first, so that every word can still
    be spelled; then what the training rows and the corpus use, most often first; then the rest in the order of the
    vocabulary, which is that of general frequency in the vocabularies of BERT and RoBERTa."""
    corpus: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Texts of the kind that the result is for, whose word pieces count as much as those of the training rows: id of an
    uploaded dataset, of which the split `train` is read; without a server, a file or a folder of files."""
    corpus_columns: Annotated[list[str], Field(min_length=1, max_length=100)] | None = None
    """Columns of the corpus that hold its texts; by default those that the task reads, or the one column of text."""

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.corpus_columns is not None and self.corpus is None:
            raise ValueError("corpus_columns are those of a corpus: name one, or leave them out")
        return self

    @property
    def named_datasets(self) -> dict[str, str]:
        return {} if self.corpus is None else {"/corpus": self.corpus}

    def with_datasets(self, others: Mapping[str, DatasetSummary], task: BaseTask) -> Self:
        if self.corpus is None:
            return self
        columns = columns_of_texts(self.corpus_columns, others[self.corpus], task)
        return self.model_copy(update={"corpus_columns": columns})

    def kept(self, vocabulary_size: int) -> int:
        """Entries that stay of so many."""
        return max(1, round(self.keep_share * vocabulary_size))

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: so many entries cannot stay, as far as that is known.
        """
        size = self.kept(shape.vocabulary_size)
        if shape.pieces is not None and shape.required_pieces is not None:
            self.check(shape.vocabulary_size, shape.pieces, shape.required_pieces)
        return shape.model_copy(update={"vocabulary_size": size, "pieces": size})

    def check(self, rows: int, pieces: int, required: int) -> None:
        """Raises InputError where more than the share of a table must stay, or less than it can."""
        if required <= self.kept(rows) <= pieces:
            return
        least = f"at least {ceil(required / rows * 1e4) / 1e4:.4f}"
        most = f" and at most {floor(pieces / rows * 1e4) / 1e4:.4f}" if pieces < rows else ""
        message = (
            f"of {rows} entries {required} special tokens and single characters must stay, and {pieces} can: use a "
            f"share of {least}{most}"
        )
        raise InputError(Problem("vocabulary_size", message, "/keep_share"))
