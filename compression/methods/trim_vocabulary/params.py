"""Settings of vocabulary trimming."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from compression.checkpoints.facts import Architecture, TaskType
from compression.methods.shape import ModelShape
from compression.settings import Settings
from compression.training.params import Training


class TrimVocabularyParams(Settings):
    """Keep the word pieces that the training rows use and the most frequent others; drop the rest of the table."""

    PAPER: ClassVar[str] = (
        "Abdaoui et al., Load What You Need: Smaller Versions of Multilingual BERT, SustaiNLP 2020"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = get_args(Architecture)
    # Other pieces are other outputs, where they are answered piece by piece: before and after could not be compared.
    TASKS: ClassVar[tuple[TaskType, ...]] = ("text-classification", "sentence-similarity")
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {}

    method: Literal["trim_vocabulary"] = "trim_vocabulary"
    keep_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the vocabulary that stays. Special tokens and single characters come first, so that every word can still
    be spelled; then what the training rows use, most often first; then the rest in the order of the vocabulary, which
    is that of general frequency in the vocabularies of BERT and RoBERTa."""

    @property
    def trains(self) -> Training | None:
        return None

    def kept(self, vocabulary_size: int) -> int:
        """Entries that stay of so many."""
        return max(1, round(self.keep_share * vocabulary_size))

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves."""
        return shape.model_copy(update={"vocabulary_size": self.kept(shape.vocabulary_size)})
