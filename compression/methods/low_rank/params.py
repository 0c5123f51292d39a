"""Settings of low-rank factorisation."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.traits import architectures_with
from compression.errors import InputError, Problem
from compression.methods.params import Recovered
from compression.methods.shape import ModelShape

Weighting = Literal["none", "inputs", "gradients"]


class LowRankParams(Recovered):
    """Put products of two thin matrices in the place of weight matrices, then train to recover."""

    PAPER: ClassVar[str] = (
        "Hsu et al., Language Model Compression with Weighted Low-Rank Factorization, ICLR 2022"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = architectures_with("transformer_layers")
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)

    method: Literal["low_rank"] = "low_rank"
    keep_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share that stays of the parameters of the factorised matrices together; each gets the rank that it needs most."""
    weighting: Weighting = "inputs"
    """Which error is made small: that of the weights, that of the outputs on training rows (`inputs`), or that of the
    loss (`gradients`, Fisher-weighted SVD)."""
    embeddings: bool | None = None
    """Factorise the table of the word pieces too; by default wherever the answers are not read from it."""
    rows: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Training rows that the weighting looks at."""

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        if shape.low_rank:
            raise InputError(Problem("already_factorised", "the model is factorised already"))
        if shape.tied and self.embeddings:
            message = "the answers are read from the table of the word pieces, which must stay whole: set it to false"
            raise InputError(Problem("method_does_not_fit", message, "/embeddings"))
        return shape.model_copy(update={"low_rank": True})
