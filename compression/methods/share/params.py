"""Settings of sharing layers."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compression.checkpoints.facts import Architecture, TaskType
from compression.errors import InputError, Problem
from compression.methods.params import Recovered
from compression.methods.shape import ModelShape
from compression.methods.theseus.schedules import Schedule

Start = Literal["first", "last", "mean"]


class ShareParams(Recovered):
    """Give neighbouring layers the same weights and the word pieces shorter vectors, as in an ALBERT, then train to
    recover."""

    PAPER: ClassVar[str] = (
        "Lan et al., ALBERT: A Lite BERT for Self-supervised Learning of Language Representations, ICLR 2020"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = ("bert", "roberta", "xlm-roberta", "camembert")
    TASKS: ClassVar[tuple[TaskType, ...]] = (
        "text-classification",
        "token-classification",
        "question-answering",
        "fill-mask",
    )

    method: Literal["share"] = "share"
    groups: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Groups of neighbouring layers that have one layer's weights together; by default one for every two layers. The
    model stays as deep, and as slow, as it was."""
    start: Start = "first"
    """What the weights of a group start from: its first layer, its last, or the mean of them all."""
    embedding_size: Annotated[int, Field(ge=2, le=16_384)] | None = None
    """Length of the vectors of word pieces and positions, which one matrix then maps to hidden states; by default they
    stay as long as these."""
    replacing: Schedule | None = None
    """Recovery as in `theseus`: at each step every layer is its own or the one that its group shares, which is drawn
    with this rate, until all are shared. Null to share all of them from the first step."""

    @model_validator(mode="after")
    def _replacing_is_part_of_the_recovery(self) -> Self:
        if self.replacing is not None and self.recovery is None:
            raise ValueError("replacing is part of the recovery: leave it out, or ask for recovery")
        return self

    def group_sizes(self, layers: int) -> list[int]:
        """Layers of each group, as an ALBERT of so many layers deals them out.

        Raises:
            InputError: no layer would share its weights, and vectors would not get shorter either.
        """
        groups = self.groups or -(-layers // 2)
        if groups > layers or (groups == layers and self.embedding_size is None):
            message = f"the model has {layers} layers: fewer groups than that must share them"
            raise InputError(Problem("nothing_to_share", message, "/groups"))
        of_layer = [int(layer / (layers / groups)) for layer in range(layers)]
        return [of_layer.count(group) for group in range(groups)]

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        groups = len(self.group_sizes(shape.layers))
        if shape.fewer_heads:
            message = "layers have other numbers of heads: share layers before the step narrow"
            raise InputError(Problem("heads_removed", message))
        if shape.low_rank:
            message = "the weights are factorised: share layers before the step low_rank"
            raise InputError(Problem("already_factorised", message))
        if self.embedding_size is not None and self.embedding_size >= shape.hidden_size:
            message = (
                f"hidden states have {shape.hidden_size} numbers: vectors of word pieces must be shorter"
            )
            raise InputError(Problem("nothing_to_factorise", message, "/embedding_size"))
        if self.embedding_size is not None and shape.tied:
            message = (
                "the head reads word pieces from the table: with shorter vectors it would have to be another, which no "
                "weights of this one make; leave the vectors as they are"
            )
            raise InputError(Problem("method_does_not_fit", message, "/embedding_size"))
        return shape.model_copy(update={"architecture": "albert", "layer_groups": groups})
