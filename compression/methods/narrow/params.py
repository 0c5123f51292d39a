"""Settings of feed-forward pruning."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.traits import architectures_with
from compression.errors import InputError, Problem
from compression.methods.shape import ModelShape
from compression.training.params import Recovered


class NarrowParams(Recovered):
    """Remove the feed-forward neurons that matter least, the same number in every layer, then train to recover."""

    PAPER: ClassVar[str] = (
        "Yang et al., TextPruner: A Model Pruning Toolkit for Pre-Trained Language Models, 2022"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = architectures_with("two_maps")
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {}

    method: Literal["narrow"] = "narrow"
    intermediate_size: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Feed-forward neurons that stay in each layer; half by default, rounded up to a multiple of 8. Processors like
    multiples of 8 to 32."""
    rounds: Annotated[int, Field(ge=1, le=64)] = 8
    """Neurons go in so many equal rounds, scored anew before each: all at once keeps much less quality."""
    rows: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Training rows that the neurons are scored on in each round."""

    def kept(self, intermediate_size: int) -> int:
        """Neurons that stay in a layer of so many.

        Raises:
            InputError: nothing would be removed.
        """
        kept = self.intermediate_size or -(-intermediate_size // 16) * 8
        if kept >= intermediate_size:
            message = f"the layers have {intermediate_size} feed-forward neurons: keep fewer"
            raise InputError(Problem("nothing_to_remove", message, "/intermediate_size"))
        return kept

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        if shape.low_rank:
            message = "the weights are factorised: remove neurons before the step low_rank"
            raise InputError(Problem("already_factorised", message))
        return shape.model_copy(update={"intermediate_size": self.kept(shape.intermediate_size)})
