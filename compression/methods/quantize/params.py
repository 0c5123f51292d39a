"""Settings of quantisation."""

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.traits import architectures_with, what_it_lacks
from compression.errors import InputError, Problem
from compression.methods.params import Recovered
from compression.methods.shape import ModelShape
from compression.training.params import Distillation, GentleTraining, Training

FEWEST, MOST = 2, 4
"""Bits of a weight in groups."""
OF_GROUPS = ("bits", "allocation", "embedding_bits", "group_size", "sensitivity_rows")
"""Settings of the scheme `group-wise` alone."""


class QuantizeParams(Recovered):
    """Hold weights in fewer bits: an ONNX file of 8 bits that is a quarter as large and much faster, bfloat16, or a
    checkpoint of 2 to 4 bits that is smaller still and no faster."""

    PAPER: ClassVar[str] = (
        "Zafrir et al., Q8BERT: Quantized 8Bit BERT, 2019; Shen et al., Q-BERT: Hessian Based Ultra Low Precision "
        "Quantization of BERT, AAAI 2020"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = get_args(Architecture)
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)

    method: Literal["quantize"] = "quantize"
    scheme: Literal["int8-dynamic", "int8-static", "bfloat16", "group-wise"] = "int8-dynamic"
    """`int8-dynamic` makes `model.int8.onnx`, whose layers round their inputs to the range of each batch; `int8-static`
    to ranges found beforehand on training rows. Both deliver the checkpoint it was made of beside it. `bfloat16` makes
    an ordinary checkpoint of half the size. `group-wise` makes a checkpoint that stores codes of 2 to 4 bits, and a
    scale for each group of weights: it is loaded as float32, so that it saves bytes on disk, not time or memory."""
    calibration_rows: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Training rows, drawn by the seed, on which `int8-static` finds its ranges."""
    bits: Annotated[float, Field(ge=FEWEST, le=MOST)] = 4
    """`group-wise`: bits of the weights in the layers, on average, scales not counted."""
    allocation: Literal["hessian", "uniform"] = "hessian"
    """`group-wise`: whether each matrix gets the 2, 3 or 4 bits that it needs by the Hessian of the loss on training
    rows, within the average, or all get the same."""
    embedding_bits: Literal[4, 8] = 8
    """`group-wise`: bits of the embedding tables, and of other matrices outside the layers."""
    group_size: Annotated[int, Field(ge=8, le=4096)] = 128
    """`group-wise`: weights in a row that share a scale of 16 bits."""
    sensitivity_rows: Annotated[int, Field(ge=1, le=100_000)] = 512
    """`group-wise`: training rows whose gradients tell the Hessian."""
    recovery: GentleTraining | None = None
    """Quantisation-aware training before weights are stored in 8 bits or fewer: the model learns with its numbers
    rounded, in `int8-static` to the ranges that the file will have. Worth it where the metric drops by more than half a
    point without it, as it does in 2 bits. For 8 bits it computes in float32 whatever `precision` says: bfloat16 would
    round again, and by as much."""
    distillation: Distillation | None = None
    """A pull towards the logits of the model before this step during recovery."""

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.recovery is not None and self.scheme == "bfloat16":
            raise ValueError(
                "recovery is for 8 bits or fewer: bfloat16 loses next to nothing that could be recovered"
            )
        if self.scheme == "group-wise":
            if self.allocation == "uniform" and self.bits % 1:
                raise ValueError(
                    "a uniform number of bits is 2, 3 or 4: only the allocation hessian can mix them"
                )
        elif foreign := [name for name in OF_GROUPS if getattr(self, name) != self._default(name)]:
            raise ValueError(
                f"the scheme {self.scheme} has no {', '.join(foreign)}: leave out, or choose group-wise"
            )
        return self

    @classmethod
    def _default(cls, name: str) -> object:
        return cls.model_fields[name].default

    @property
    def in_8_bit_file(self) -> bool:
        """Whether the result is an ONNX file."""
        return self.scheme in ("int8-dynamic", "int8-static")

    @property
    def trains(self) -> Training | None:
        if self.recovery is None or not self.in_8_bit_file:
            return self.recovery
        return self.recovery.model_copy(update={"precision": "float32"})

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves: quantisation changes none.

        Raises:
            InputError: what is asked for works on linear maps, and the model has others.
        """
        if shape.architecture not in architectures_with("transformer_layers"):
            why = what_it_lacks(shape.architecture, "transformer_layers")
            for wanted, place in (
                (self.recovery is not None, "/recovery"),
                (self.scheme in ("int8-static", "group-wise"), "/scheme"),
            ):
                if wanted:
                    message = (
                        f"this rounds linear maps, and {why}: use int8-dynamic or bfloat16 without recovery"
                    )
                    raise InputError(Problem("method_does_not_fit", message, place))
        return shape
