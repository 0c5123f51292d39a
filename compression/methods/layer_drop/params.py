"""Settings of layer dropping."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from compression.checkpoints.facts import Architecture
from compression.errors import InputError, Problem
from compression.methods.shape import ModelShape
from compression.settings import Settings
from compression.training.params import Training


class LayerDropParams(Settings):
    """Delete layers of the fine-tuned model by a fixed rule, then train the rest to recover."""

    PAPER: ClassVar[str] = (
        "Sajjad et al., On the Effect of Dropping Layers of Pre-trained Transformer Models, 2023"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = ("bert", "roberta", "distilbert")
    TASKS: ClassVar[tuple[str, ...]] = ("text-classification",)
    PRESETS: ClassVar[dict[str, dict[str, object]]] = {}

    method: Literal["layer_drop"] = "layer_drop"
    keep_layers: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Layers that stay; half by default."""
    strategy: Literal["top", "bottom", "alternate", "symmetric"] = "top"
    """Which layers go: the last, the first, every other one counted from the top, or the middle ones."""
    recovery: Training | None = Training(learning_rate=5e-5, clip_norm=1.0)
    """Training of the whole remaining model; null to deliver it untrained."""

    @property
    def trains(self) -> Training | None:
        """The training that this step does, for plans and estimates."""
        return self.recovery

    def kept(self, layers: int) -> list[int]:
        """Indices of the layers that stay, lowest first.

        Raises:
            InputError: nothing would be dropped, or the strategy cannot drop that many.
        """
        keep = self.keep_layers or layers // 2
        drop = layers - keep
        if not 0 < keep < layers:
            message = f"of {layers} layers at least one must stay and at least one must go"
            raise InputError(Problem("successor_too_deep", message, "/keep_layers"))
        if self.strategy == "top":
            return list(range(keep))
        if self.strategy == "bottom":
            return list(range(drop, layers))
        if self.strategy == "symmetric":
            below = (keep + 1) // 2
            return [*range(below), *range(below + drop, layers)]
        if drop > layers // 2:
            message = f"alternate dropping removes every other layer, at most {layers // 2} of {layers}"
            raise InputError(Problem("too_many_to_alternate", message, "/keep_layers"))
        dropped = {layers - 1 - 2 * i for i in range(drop)}
        return [i for i in range(layers) if i not in dropped]

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        return shape.model_copy(update={"layers": len(self.kept(shape.layers))})
