"""Settings of the training loop, shared by every method that trains."""

import math
from typing import Annotated, Literal

from pydantic import Field

from compression.settings import Settings


class Training(Settings):
    """How a method trains. AdamW, linear decay to zero, rows of like length batched together."""

    epochs: Annotated[float, Field(gt=0, le=100)] = 3
    """Passes over the training rows; a fraction is allowed."""
    max_steps: Annotated[int, Field(gt=0, le=10_000_000)] | None = None
    """Optimizer steps at the most, whatever the epochs say."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    batch_size: Annotated[int, Field(gt=0, le=1024)] = 32
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the steps over which the learning rate rises from zero."""
    clip_norm: Annotated[float, Field(gt=0)] = 0.3
    """Gradients of the trained parameters are scaled down to this norm."""
    evaluations_per_epoch: Annotated[int, Field(ge=1, le=100)] = 2
    """Validations per pass; the best weights seen are kept."""
    best_by: Literal["metric", "loyalty"] = "metric"
    """What is best: the metric, and of equals what agrees more with the original; or, for users who must not notice the
    change, the agreement with the original's outputs (probability loyalty), and of equals the metric."""
    patience: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Training stops after so many validations in a row whose metric, or loyalty, was not better; null to make all the
    steps."""
    precision: Literal["auto", "float32"] = "auto"
    """What layers compute in: `auto` is bfloat16 where the machine multiplies it natively."""
    batching: Literal["by_length", "padded"] = "by_length"
    """`by_length` puts rows of like length into a batch and pads them to their own longest; `padded` takes rows as they
    come and pads all of them to the task's `max_length`, as the official code of most papers does."""

    def steps(self, rows: int) -> int:
        """Optimizer steps for a training split of so many rows."""
        steps = math.ceil(self.epochs * math.ceil(rows / self.batch_size))
        return min(steps, self.max_steps) if self.max_steps else steps

    def evaluation_every(self, rows: int) -> int:
        """Steps between two validations."""
        return max(1, math.ceil(rows / self.batch_size) // self.evaluations_per_epoch)


class GentleTraining(Training):
    """Training of a model that has lost little: smaller steps."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-5
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients of the trained parameters are scaled down to this norm."""


class Distillation(Settings):
    """A term that pulls the logits to the original's: weight * T^2 * KL (Hinton et al. 2015, section 2)."""

    weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of this term in the loss; the task's own loss has the rest."""
    temperature: Annotated[float, Field(gt=0, le=100)] = 2.0
