"""Settings of BERT-of-Theseus."""

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.traits import architectures_with, what_it_lacks
from compression.errors import InputError, Problem
from compression.methods.layer_choice import LayerChoice, equal_modules, growing_modules
from compression.methods.params import MethodParams
from compression.methods.shape import ModelShape
from compression.methods.theseus.schedules import LinearSchedule, Schedule
from compression.settings import on_top_of
from compression.training.params import Distillation, Training


class TheseusParams(MethodParams):
    """Replace modules of consecutive layers by one layer each, with a probability that rises during training."""

    PAPER: ClassVar[str] = (
        "Xu et al., BERT-of-Theseus: Compressing BERT by Progressive Module Replacing, EMNLP 2020"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = architectures_with("own_layers")
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {},
        "distilled": {
            "modules": "growing",
            "initialization": "module_first",
            "fitted": True,
            "schedule": {"type": "linear", "full_at": 0.25},
            "distillation": {},
            "hidden_weight": 30.0,
            "head": "trained",
            "training": {"learning_rate": 2e-4, "clip_norm": 1.0},
        },
        "paper": {
            "initialization": "first_layers",
            "schedule": {"type": "linear", "base_rate": 0.3, "full_at": 0.6},
            "frozen_gradients": True,
            "training": {
                "learning_rate": 2e-5,
                "epochs": 15,
                "clip_norm": 1.0,
                "precision": "float32",
                "batching": "padded",
            },
        },
    }

    method: Literal["theseus"] = "theseus"
    preset: Literal["fast", "distilled", "paper"] = "fast"
    """Where unset fields take their values from: `fast`; `distilled`, which also imitates the original's states and
    outputs and trains the head, and keeps the most; or the `paper`'s choices, quirks included."""
    successor_layers: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Layers of the successor; half of the predecessor's by default."""
    successor_intermediate_size: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Feed-forward neurons of each successor, those that matter most of the layer it starts from; all by default."""
    successor_keep_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share that stays of the parameters of the successors' matrices, as products of two factors; they are whole by
    default."""
    modules: (
        Literal["equal", "growing"] | Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    ) = "equal"
    """How the predecessor's layers are cut into modules: as equally as possible; growing with the depth, as early
    layers are the hardest to replace; or the layers of each, from the embeddings up, e.g. [1, 2, 3]."""
    initialization: LayerChoice | Literal["probe"] = "module_last"
    """Which predecessor layers the successor starts from: the first ones, as in the paper; the first or the last of
    each module; spread evenly over the whole depth; or whichever of these has the lowest loss on the validation rows
    after `probe_steps` steps. The first ones need thousands of steps before the frozen head can read their output. What
    is fitted begins best from the first of each module, which knows the states that it will be given."""
    probe_steps: Annotated[int, Field(ge=1, le=10_000)] = 40
    """Steps that the initialization `probe` trains each candidate for, all on the same batches."""
    fitted: bool = False
    """Whether the two maps of each successor that add to the states, behind attention and behind the neurons, are
    fitted by least squares, before any training, to what its module puts out. Its neurons then are those of the
    module's last layer, and the layer it starts from is the one it attends as."""
    schedule: Schedule = LinearSchedule()
    gates: Literal["batch", "example"] = "batch"
    """Whether a module is replaced for all rows of a batch alike, as in the paper, or drawn for each row."""
    border_weight: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Weight of a term that pulls what a replaced module puts out to what the predecessor's would put out for the same
    input (mean squared difference), while the rate is below 1."""
    hidden_weight: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """Weight of a term that pulls the states behind every module to those that the original has there (mean squared
    difference), to the end of the training; behind the last one those of first pieces alone where layers have BERT's
    form and the head reads no others. Costs a pass of the original at every step."""
    head: Literal["frozen", "at_end", "trained"] = "frozen"
    """The classification head: frozen, as in the paper; trained from when every module is replaced, at a fifth of the
    learning rate; or trained along with the successors from the start."""
    frozen_gradients: bool = False
    """Compute gradients for the frozen parts too, as the official code does: they count when gradients are clipped,
    and a step without any successor is made, not skipped. Costs time and memory, and is for comparisons."""
    distillation: Distillation | None = None
    training: Training = Training()

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = cls.PRESETS.get(given.get("preset", "fast"), {})
        return on_top_of(preset, given, "training", "distillation")

    @model_validator(mode="after")
    def _modules_agree(self) -> Self:
        if isinstance(self.modules, list) and self.successor_layers not in (None, len(self.modules)):
            raise ValueError(
                f"modules names {len(self.modules)} modules but successor_layers is {self.successor_layers}: "
                "leave one of the two out"
            )
        if self.successor_intermediate_size is not None and self.successor_keep_share is not None:
            raise ValueError("successors have fewer neurons or factors: leave one of the two settings out")
        return self

    @property
    def trains(self) -> Training:
        return self.training

    @property
    def shown_each_batch(self) -> bool:
        return self.hidden_weight > 0

    def partition(self, layers: int) -> list[int]:
        """Predecessor layers per module for a predecessor of `layers` layers.

        Where an equal division leaves a rest, late modules are longer: the first module is the hardest to replace
        (paper, section 5.1).

        Raises:
            InputError: the successor would not be smaller, or the modules do not cover the predecessor.
        """
        given = self.modules if isinstance(self.modules, list) else None
        count = len(given) if given else (self.successor_layers or layers // 2)
        if not 0 < count < layers:
            message = f"the successor must have fewer layers than the model's {layers}"
            place = "/modules" if given else "/successor_layers"
            raise InputError(Problem("successor_too_deep", message, place))
        if given is None:
            return (equal_modules if self.modules == "equal" else growing_modules)(layers, count)
        if sum(given) != layers:
            message = f"the modules cover {sum(given)} layers, the model has {layers}"
            raise InputError(Problem("modules_do_not_cover", message, "/modules"))
        return given

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        layers = len(self.partition(shape.layers))
        if self.successor_intermediate_size is None and self.successor_keep_share is None:
            return shape.model_copy(update={"layers": layers})
        if shape.low_rank:
            message = "the weights are factorised: successors that are smaller still cannot be made of them"
            raise InputError(Problem("already_factorised", message))
        if self.successor_intermediate_size is None:
            return shape.model_copy(update={"layers": layers, "low_rank": True})
        if shape.architecture not in architectures_with("two_maps"):
            message = (
                f"neurons cannot be removed from {shape.architecture}: {what_it_lacks(shape.architecture)}"
            )
            raise InputError(Problem("method_does_not_fit", message, "/successor_intermediate_size"))
        if self.successor_intermediate_size >= shape.intermediate_size:
            message = f"the layers have {shape.intermediate_size} feed-forward neurons: keep fewer"
            raise InputError(Problem("nothing_to_remove", message, "/successor_intermediate_size"))
        return shape.model_copy(
            update={"layers": layers, "intermediate_size": self.successor_intermediate_size}
        )
