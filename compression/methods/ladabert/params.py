"""Settings of the hybrid of factorisation and pruning."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.traits import architectures_with
from compression.methods.low_rank.params import LowRankParams, Weighting
from compression.methods.params import Trained
from compression.methods.prune.params import PruneParams
from compression.methods.shape import ModelShape


class LadaBertParams(Trained):
    """Factorise the weight matrices, then prune the factors during a training that imitates the whole model."""

    PAPER: ClassVar[str] = (
        "Mao et al., LadaBERT: Lightweight Adaptation of BERT through Hybrid Model Compression, COLING 2020"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = architectures_with("transformer_layers")
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)

    method: Literal["ladabert"] = "ladabert"
    ratio: Annotated[float, Field(gt=1, le=50)] = 5
    """Weights that are not zero in the matrices of the layers and the table of the word pieces, before over after."""
    low_rank_part: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """The part of the ratio, as its power, that factorisation has; pruning has the rest, and makes up for a table that
    stays whole because the answers are read from it."""
    rounds: Annotated[int, Field(ge=1, le=64)] = 1
    """The factorisation begins at higher ranks and comes down to its final ones in so many rounds, each a new SVD of
    what the training has made of the factors; 1 takes the final ranks at once."""
    weighting: Weighting = "inputs"
    """Which error the factorisation makes small, as in `low_rank`."""

    @property
    def factorisation(self) -> LowRankParams:
        return LowRankParams(
            keep_share=self.ratio**-self.low_rank_part,
            weighting=self.weighting,
            recovery=None,
        )

    def pruning(self, before: int, left: int) -> PruneParams:
        """What reaches the ratio where factorisation has `left` so many weights of those `before`."""
        sparsity = max(0.0, 1 - before / (self.ratio * left))
        pruning = PruneParams(training=self.training, distillation=self.distillation)
        return pruning.model_copy(update={"sparsity": sparsity})

    def rank(self, final: int, full: int, number: int) -> int:
        """The rank in a round, counted from 1, of a matrix of full rank `full`: what is kept shrinks evenly."""
        growth: float = self.factorisation.keep_share ** (number / self.rounds - 1)
        return min(full, round(final * growth))

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        return self.factorisation.resulting(shape).model_copy(update={"packed": True})
