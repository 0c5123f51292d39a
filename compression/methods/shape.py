"""What a step of a recipe needs to know of the model it gets, so that recipes are checked before any compute."""

from typing import Self

from compression.checkpoints.facts import TIED, Architecture, ModelFacts, TaskType
from compression.settings import Settings


class ModelShape(Settings):
    """The part of a model that the methods change or depend on."""

    architecture: Architecture
    task: TaskType
    layers: int
    layer_groups: int | None = None
    hidden_size: int
    attention_heads: int
    intermediate_size: int
    vocabulary_size: int
    pieces: int | None = None
    required_pieces: int | None = None
    fewer_heads: bool = False
    low_rank: bool = False
    packed: bool = False

    @property
    def tied(self) -> bool:
        """Whether the answers are read from the table of the word pieces."""
        return self.task in TIED

    @classmethod
    def of(cls, model: ModelFacts) -> Self:
        return cls(**{name: getattr(model, name) for name in cls.model_fields})
