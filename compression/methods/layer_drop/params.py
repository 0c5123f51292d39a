"""Settings of layer dropping."""

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.traits import architectures_with, what_it_lacks
from compression.errors import InputError, Problem
from compression.methods.layer_choice import chosen_layers, growing_modules
from compression.methods.params import Recovered
from compression.methods.shape import ModelShape
from compression.training.params import Distillation

Rule = Literal["top", "bottom", "alternate", "symmetric", "growing"]
Strategy = Rule | Literal["contribution"]


class LayerDropParams(Recovered):
    """Delete layers of the fine-tuned model by a rule or by what they contribute, then train the rest to recover."""

    PAPER: ClassVar[str] = (
        "Sajjad et al., On the Effect of Dropping Layers of Pre-trained Transformer Models, 2023"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = architectures_with("transformer_layers")
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)

    method: Literal["layer_drop"] = "layer_drop"
    keep_layers: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Layers that stay; half by default."""
    strategy: Strategy | Literal["best"] = "best"
    """Which layers go: the last, the first, every other one counted from the top, the middle ones, all but the last
    (or where they are fitted, the first) of parts that grow with the depth, those that change their input least on
    training rows, or whatever `best` finds to keep most of the metric on the validation rows before any training. An
    ALBERT, whose layers share their weights, is run fewer times: there is nothing to choose."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    """For `contribution`: only layers go whose output is more similar to their input than this (mean cosine; the paper
    uses 0.9 to 0.95). `keep_layers` then is the fewest that stay, and later steps must fit any number from it on."""
    fitted: bool = False
    """Whether the two maps that add to the states are fitted by least squares, before any training, in each layer
    beside which others went, to what they put out together; its neurons then are those of the last of them. `best`
    tries the strategies so. Takes seconds."""
    distillation: Distillation | None = None
    """A pull towards the logits of the model with all its layers during recovery."""

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.threshold is not None and self.strategy != "contribution":
            raise ValueError("threshold is for the strategy contribution: leave it out, or choose that")
        return self

    def depth(self, layers: int) -> int:
        """Layers that stay, the fewest where a threshold decides.

        Raises:
            InputError: nothing would be dropped, or the strategy cannot drop that many.
        """
        keep = self.keep_layers or layers // 2
        if not 0 < keep < layers:
            message = f"of {layers} layers at least one must stay and at least one must go"
            raise InputError(Problem("successor_too_deep", message, "/keep_layers"))
        if self.strategy == "alternate" and layers - keep > layers // 2:
            message = f"alternate dropping removes every other layer, at most {layers // 2} of {layers}"
            raise InputError(Problem("too_many_to_alternate", message, "/keep_layers"))
        return keep

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves, with the fewest layers that may stay.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        layers = self.depth(shape.layers)
        if shape.layer_groups is None:
            return shape.model_copy(update={"layers": layers})
        for chosen, name in ((self.strategy != "best", "strategy"), (self.fitted, "fitted")):
            if chosen:
                message = f"{what_it_lacks(shape.architecture, 'own_layers')}: they can only be run fewer times, and "
                message += f"there is nothing to choose or to fit; leave {name} out"
                raise InputError(Problem("method_does_not_fit", message, f"/{name}"))
        if layers < shape.layer_groups:
            message = f"{shape.layer_groups} layers have weights of their own: keep as many at least"
            raise InputError(Problem("successor_too_shallow", message, "/keep_layers"))
        return shape.model_copy(update={"layers": layers})

    def outcomes(self, shape: ModelShape) -> list[ModelShape]:
        fewest = self.resulting(shape)
        most = fewest.layers if self.threshold is None else shape.layers
        return [fewest.model_copy(update={"layers": n}) for n in range(fewest.layers, most + 1)]


RULES: tuple[Rule, ...] = get_args(Rule)


def kept_by_rule(rule: Rule, layers: int, keep: int, *, fitted: bool = False) -> list[int]:
    """Indices of the layers that stay, lowest first; fewer than `keep` where `alternate` cannot drop so many.

    Of growing parts the last layers stay, after which the next part knows what it is given; or, where they are fitted
    to put out what a part does, the first ones, which know what they are given.
    """
    drop = layers - keep
    match rule:
        case "top":
            return list(range(keep))
        case "bottom":
            return list(range(drop, layers))
        case "symmetric":
            below = (keep + 1) // 2
            return [*range(below), *range(below + drop, layers)]
        case "alternate":
            dropped = {layers - 1 - 2 * i for i in range(drop)}
            return [i for i in range(layers) if i not in dropped]
        case "growing":
            return chosen_layers("module_first" if fitted else "module_last", growing_modules(layers, keep))
