"""Settings of BERT-of-Theseus."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compression.checkpoints.facts import Architecture
from compression.errors import InputError, Problem
from compression.methods.shape import ModelShape
from compression.settings import Settings
from compression.training.params import Distillation, Training


class ConstantSchedule(Settings):
    """One rate for the first share of the steps, then 1: the paper's two phases (section 3.2)."""

    type: Literal["constant"] = "constant"
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    full_at: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Share of the steps after which every module is replaced (successor fine-tuning)."""

    def rate_at(self, fraction: float) -> float:
        return 1.0 if fraction >= self.full_at else self.rate


class LinearSchedule(Settings):
    """The rate rises from `base_rate` to 1: the paper's curriculum, p = min(1, k t + b) (equation 6)."""

    type: Literal["linear"] = "linear"
    base_rate: Annotated[float, Field(gt=0, le=1)] = 0.3
    full_at: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the steps at which the rate reaches 1."""

    def rate_at(self, fraction: float) -> float:
        return min(1.0, self.base_rate + (1.0 - self.base_rate) * fraction / self.full_at)


Schedule = Annotated[ConstantSchedule | LinearSchedule, Field(discriminator="type")]


class TheseusParams(Settings):
    """Replace modules of consecutive layers by one layer each, with a probability that rises during training."""

    PAPER: ClassVar[str] = (
        "Xu et al., BERT-of-Theseus: Compressing BERT by Progressive Module Replacing, EMNLP 2020"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = ("bert", "roberta", "distilbert")
    TASKS: ClassVar[tuple[str, ...]] = ("text-classification",)
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {},
        "paper": {
            "initialization": "first_layers",
            "schedule": {"type": "linear", "base_rate": 0.3, "full_at": 0.6},
            "training": {"learning_rate": 2e-5, "epochs": 15, "clip_norm": 1.0},
        },
    }

    method: Literal["theseus"] = "theseus"
    preset: Literal["fast", "paper"] = "fast"
    """Where unset fields take their values from: `fast`, or the `paper`'s choices."""
    successor_layers: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Layers of the successor; half of the predecessor's by default."""
    modules: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] | None = None
    """Predecessor layers in each module, from the embeddings up, e.g. [1, 2, 3]; as equal as possible by default."""
    initialization: Literal["first_layers", "module_first", "module_last"] = "module_last"
    """Which predecessor layers the successor starts from: the first ones, as in the paper, or every k-th: the first or
    the last of each module. The first ones need thousands of steps before the frozen head can read their output."""
    schedule: Schedule = LinearSchedule()
    train_head: bool = False
    """Train the classification head along; the paper keeps it frozen."""
    distillation: Distillation | None = None
    training: Training = Training()

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        preset = cls.PRESETS.get(given.get("preset", "fast")) if isinstance(given, dict) else None
        if not preset:
            return given
        merged = {**preset, **given}
        if isinstance(given.get("training"), dict):
            merged["training"] = {**preset["training"], **given["training"]}
        return merged

    @model_validator(mode="after")
    def _modules_agree(self) -> Self:
        if self.modules and self.successor_layers not in (None, len(self.modules)):
            raise ValueError(
                f"modules names {len(self.modules)} modules but successor_layers is {self.successor_layers}: "
                "leave one of the two out"
            )
        return self

    @property
    def trains(self) -> Training:
        """The training that this step does, for plans and estimates."""
        return self.training

    def partition(self, layers: int) -> list[int]:
        """Predecessor layers per module for a predecessor of `layers` layers.

        Where the division leaves a rest, late modules are longer: the first module is the hardest to replace (paper,
        section 5.1).

        Raises:
            InputError: the successor would not be smaller, or the modules do not cover the predecessor.
        """
        count = len(self.modules) if self.modules else (self.successor_layers or layers // 2)
        if not 0 < count < layers:
            message = f"the successor must have fewer layers than the model's {layers}"
            place = "/modules" if self.modules else "/successor_layers"
            raise InputError(Problem("successor_too_deep", message, place))
        if self.modules is None:
            size, rest = divmod(layers, count)
            return [size] * (count - rest) + [size + 1] * rest
        if sum(self.modules) != layers:
            message = f"the modules cover {sum(self.modules)} layers, the model has {layers}"
            raise InputError(Problem("modules_do_not_cover", message, "/modules"))
        return self.modules

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        return shape.model_copy(update={"layers": len(self.partition(shape.layers))})
