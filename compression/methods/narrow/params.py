"""Settings of the pruning of neurons and heads."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.traits import architectures_with, what_it_lacks
from compression.errors import InputError, Problem
from compression.methods.params import Recovered
from compression.methods.shape import ModelShape


class NarrowParams(Recovered):
    """Remove the feed-forward neurons, and where asked for the attention heads, that matter least; train to recover."""

    PAPER: ClassVar[str] = (
        "Michel et al., Are Sixteen Heads Really Better than One?, NeurIPS 2019; "
        "Yang et al., TextPruner: A Model Pruning Toolkit for Pre-Trained Language Models, 2022"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = architectures_with("two_maps")
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)

    method: Literal["narrow"] = "narrow"
    intermediate_size: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Feed-forward neurons that stay in each layer; half by default, rounded up to a multiple of 8. Processors like
    multiples of 8 to 32. The model's own number leaves them all."""
    attention_heads: Annotated[int, Field(ge=1, le=256)] | None = None
    """Attention heads that stay in a layer on average: of all layers together those that matter most, one in each at
    the least. All stay by default: a model with fewer is no checkpoint that transformers alone can load."""
    rounds: Annotated[int, Field(ge=1, le=64)] = 8
    """Neurons and heads go in so many equal rounds, scored anew before each: all at once keeps less."""
    rows: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Training rows that they are scored on in each round."""
    fitted: bool = True
    """Whether the two maps that add to the states are fitted by least squares, before any training, in each layer that
    lost neurons or heads, to what it put out when it had them. Takes seconds. Zeros of a pruned model stay, and the
    layers of an ALBERT, which stand in several places, are not fitted."""

    def kept(self, intermediate_size: int) -> int:
        """Neurons that stay in a layer of so many.

        Raises:
            InputError: nothing would be removed.
        """
        kept = self.intermediate_size or -(-intermediate_size // 16) * 8
        if kept > intermediate_size or (kept == intermediate_size and self.attention_heads is None):
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
        narrowed = {"intermediate_size": self.kept(shape.intermediate_size)}
        if self.attention_heads is None:
            return shape.model_copy(update=narrowed)
        if shape.architecture not in architectures_with("plain_scores"):
            why = what_it_lacks(shape.architecture, "plain_scores")
            message = f"heads cannot be removed from {shape.architecture}: {why}"
            raise InputError(Problem("method_does_not_fit", message, "/attention_heads"))
        if self.attention_heads >= shape.attention_heads:
            message = f"the layers have {shape.attention_heads} attention heads: keep fewer"
            raise InputError(Problem("nothing_to_remove", message, "/attention_heads"))
        return shape.model_copy(update=narrowed | {"fewer_heads": True})
