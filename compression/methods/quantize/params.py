"""Settings of quantisation."""

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.traits import architectures_with, what_it_lacks
from compression.errors import InputError, Problem
from compression.methods.shape import ModelShape
from compression.training.params import Distillation, GentleTraining, Recovered


class QuantizeParams(Recovered):
    """Hold weights in fewer bits: an ONNX file of 8 bits that is a quarter as large and much faster, or bfloat16."""

    PAPER: ClassVar[str] = "Zafrir et al., Q8BERT: Quantized 8Bit BERT, 2019"
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = get_args(Architecture)
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)
    PRESETS: ClassVar[dict[str, dict[str, object]]] = {}

    method: Literal["quantize"] = "quantize"
    scheme: Literal["int8-dynamic", "int8-static", "bfloat16"] = "int8-dynamic"
    """`int8-dynamic` makes `model.int8.onnx`, whose layers round their inputs to the range of each batch; `int8-static`
    to ranges found beforehand on training rows. Both deliver the checkpoint it was made of beside it. `bfloat16` makes
    an ordinary checkpoint of half the size."""
    calibration_rows: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Training rows on which `int8-static` finds its ranges."""
    recovery: GentleTraining | None = None
    """Quantisation-aware training before an 8-bit file is made: the model learns with its numbers rounded. Worth it
    where the metric drops by more than half a point without it."""
    distillation: Distillation | None = None
    """A pull towards the logits of the model before this step during recovery."""

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.recovery is not None and self.scheme == "bfloat16":
            raise ValueError("recovery is for 8 bits: bfloat16 loses next to nothing that could be recovered")
        return self

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves: quantisation changes none.

        Raises:
            InputError: what is asked for works on linear maps, and the model has others.
        """
        if shape.architecture not in architectures_with("transformer_layers"):
            why = what_it_lacks(shape.architecture, "transformer_layers")
            for wanted, place in (
                (self.recovery is not None, "/recovery"),
                (self.scheme == "int8-static", "/scheme"),
            ):
                if wanted:
                    message = (
                        f"this rounds linear maps, and {why}: use int8-dynamic or bfloat16 without recovery"
                    )
                    raise InputError(Problem("method_does_not_fit", message, place))
        return shape
