"""Settings of magnitude pruning."""

from math import ceil
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.traits import architectures_with
from compression.methods.params import Trained
from compression.methods.shape import ModelShape


class PruneParams(Trained):
    """Set the smallest weights to zero, more and more of them during training, and store what is left."""

    PAPER: ClassVar[str] = "Zhu and Gupta, To prune, or not to prune, ICLR 2018 workshop"
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = architectures_with("transformer_layers")
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)

    method: Literal["prune"] = "prune"
    sparsity: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Share of zeros at the end in each weight matrix of the layers and in the table of the word pieces."""
    full_at: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """Share of the steps at which all zeros are there; the rest of the training repairs."""
    storage: Literal["packed", "dense"] = "packed"
    """`packed` stores a bit for each weight and the values that are not zero, and loads by the function that comes with
    it; `dense` is an ordinary checkpoint, as large as before."""

    def full_step(self, steps: int) -> int:
        """The last step after which weights are removed, of so many."""
        return min(ceil(self.full_at * steps), steps - 1)

    def sparsity_after(self, step: int, steps: int) -> float:
        """s_t = s_f (1 - (1 - t / n)^3): fast while much is superfluous (Zhu and Gupta 2018, equation 1)."""
        left = 1 - min(1.0, step / max(1, self.full_step(steps)))
        return self.sparsity * (1 - left**3)

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves."""
        return shape.model_copy(update={"packed": shape.packed or self.storage == "packed"})
