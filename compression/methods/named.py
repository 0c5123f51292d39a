"""Models that steps name beside the job's own."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from compression.checkpoints.facts import ModelFacts
from compression.errors import Problem
from compression.tasks.columns import BaseTask


@dataclass(frozen=True)
class NamedModel(ABC):
    """A model that is to help with compressing the job's: an uploaded one, or the folder of a checkpoint."""

    ROLE: ClassVar[str]
    PLACE: ClassVar[str]
    """Of its name, below the step; problems are there."""

    name: str

    @abstractmethod
    def misfits(self, own: ModelFacts, model: ModelFacts) -> Iterator[Problem]:
        """Why a model, of which `own` tells, cannot have the role beside the job's."""

    def misreads(self, own: ModelFacts, model: ModelFacts, task: BaseTask) -> Iterator[Problem]:
        """Why it cannot read the rows as the job's model does."""
        yield from ()

    def problem(self, kind: str, message: str) -> Problem:
        return Problem(f"{self.ROLE.replace(' ', '_')}_{kind}", message, self.PLACE)
