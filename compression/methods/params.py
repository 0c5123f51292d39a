"""What the settings of all methods have in common: what must be known of a step before any compute."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import model_validator

from compression.checkpoints.facts import Architecture, ModelFacts, TaskType
from compression.data.summary import DatasetSummary
from compression.methods.named import NamedModel
from compression.methods.shape import ModelShape
from compression.settings import Settings
from compression.tasks.columns import BaseTask
from compression.training.params import Distillation, GentleTraining, Training


class MethodParams(Settings):
    """A step of a recipe."""

    PAPER: ClassVar[str]
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]]
    TASKS: ClassVar[tuple[TaskType, ...]]
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {}

    @property
    def trains(self) -> Training | None:
        """The training that this step does, for plans and estimates."""
        return None

    @property
    def shown_each_batch(self) -> bool:
        """Whether the model that this step got runs on every batch of its training: its logits are taken from there."""
        return False

    @property
    def named_models(self) -> tuple[NamedModel, ...]:
        """The models that it names beside the job's own."""
        return ()

    @property
    def named_datasets(self) -> dict[str, str]:
        """The datasets that it names beside the job's own, by the place of the name below the step."""
        return {}

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        raise NotImplementedError

    def outcomes(self, shape: ModelShape) -> list[ModelShape]:
        """Every shape this step may leave, the smallest first: more than one where only the run can tell.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        return [self.resulting(shape)]

    def with_models(self, others: Mapping[str, ModelFacts]) -> Self:
        """The step with what it needs to know of the models that it names."""
        return self

    def with_datasets(self, others: Mapping[str, DatasetSummary], task: BaseTask) -> Self:
        """The step with what it needs to know of the datasets that it names.

        Raises:
            InputError: one of them does not serve; the place is one below the step.
        """
        return self


class Trained(MethodParams):
    """Settings of a method whose work is done in a training."""

    training: GentleTraining = GentleTraining()
    distillation: Distillation | None = Distillation()
    """Pull towards the logits of the model that this step got."""

    @property
    def trains(self) -> Training:
        return self.training


class Recovered(MethodParams):
    """Settings of a method that changes a model first and may train it then."""

    recovery: GentleTraining | None = GentleTraining()
    """Training of the whole changed model; null to deliver it untrained."""
    distillation: Distillation | None = Distillation()
    """Pull of the recovery towards the logits of the model that this step got."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_pulls_where_nothing_trains(cls, given: Any) -> Any:
        untrained = isinstance(given, dict) and given.get("recovery", ...) is None
        return {"distillation": None, **given} if untrained else given

    @model_validator(mode="after")
    def _recovery_and_distillation_agree(self) -> Self:
        if self.distillation is not None and self.recovery is None:
            raise ValueError("distillation is part of the recovery: leave it out, or ask for recovery")
        return self

    @property
    def trains(self) -> Training | None:
        return self.recovery
