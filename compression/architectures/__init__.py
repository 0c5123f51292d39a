"""Where layers, embeddings and heads sit in each architecture, so that no method names a module path."""

from copy import deepcopy
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from compression.checkpoints.bodies import Body, body_for
from compression.checkpoints.config import CLASSES
from compression.checkpoints.facts import Architecture, ModelFacts, TaskType
from compression.checkpoints.plankwright_model import class_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy(Body):
    """One class of model: an architecture with the head of a task."""

    config_class: type[PretrainedConfig]
    task: TaskType
    model_class: type[PreTrainedModel]
    head: tuple[str, ...]
    """Modules between the last layer and the logits, without a table that is the embeddings'."""

    @property
    def reads_first_piece(self) -> bool:
        """Whether the head looks at the first piece of a row alone, where layers have BERT's form."""
        return self.post_norm is not None and self.task == "text-classification"

    def embedding_tables_of(self, model: PreTrainedModel) -> list[nn.Module]:
        """What word pieces and positions are looked up in."""
        return [model.get_submodule(path) for path in (self.embeddings, self.positions) if path is not None]

    def entry_of(self, model: PreTrainedModel) -> nn.Module:
        """What puts out the states that the first layer takes."""
        modules: dict[str, nn.Module] = dict(model.named_modules())
        return next(modules[path] for path in (*self.entry, self.embeddings) if path in modules)

    def layers_of(self, model: PreTrainedModel) -> nn.ModuleList:
        layers = model.get_submodule(self.layers)
        assert isinstance(layers, nn.ModuleList)
        return layers

    def put_layers(self, model: PreTrainedModel, layers: list[nn.Module]) -> None:
        """Make `layers` the encoder's list, and their number the depth that the config tells."""
        layers = self.fit_to_place(model, layers)
        for index, layer in enumerate(layers):
            for module in layer.modules():
                if hasattr(module, "layer_idx"):
                    module.layer_idx = index  # type: ignore[assignment]  # a plain int attribute
        model.set_submodule(self.layers, nn.ModuleList(layers))
        model.config.num_hidden_layers = len(layers)  # DistilBERT maps it to n_layers
        if self.kind is not None:
            model.config.layer_types = [getattr(layer, self.kind) for layer in layers]

    def fit_to_place(self, model: PreTrainedModel, layers: list[nn.Module]) -> list[nn.Module]:
        """The layers as they can stand in the encoder's list: the first without the norm that it must not have.

        Embeddings come out of a norm themselves: g * z, where z has mean 0 and variance 1. A norm of them with weight w
        gives about w * g * z / rms(g); so w / rms(g), taken into the map behind, makes up for it.
        """
        first, *others = layers
        if self.first_without is None or isinstance(first.get_submodule(self.first_without), nn.Identity):
            return layers
        first = deepcopy(first, {id(model.config): model.config})
        norm, behind = first.get_submodule(self.first_without), first.get_submodule(self.attention[0])
        if not isinstance(behind, nn.Linear):
            behind = behind.get_submodule("down")  # the first of two factors
        assert isinstance(norm, nn.LayerNorm)
        assert isinstance(behind, nn.Linear)
        (of_embeddings,) = (m for m in self.entry_of(model).modules() if isinstance(m, nn.LayerNorm))
        with torch.no_grad():
            behind.weight.mul_(norm.weight / of_embeddings.weight.square().mean().sqrt())
        first.set_submodule(self.first_without, nn.Identity())
        return [first, *others]

    def attention_of(self, layer: nn.Module) -> list[nn.Linear]:
        """The maps to queries, keys and values, and from values back."""
        maps = [layer.get_submodule(path) for path in self.attention]
        return [linear for linear in maps if isinstance(linear, nn.Linear)]

    def narrowed_attention(self, model: PreTrainedModel) -> dict[str, tuple[int, int]]:
        """Inputs and outputs, by path, of the maps of layers whose attention has fewer heads than the config says."""
        if len(self.attention) != 4:
            return {}  # queries, keys and values out of one map: their heads stay
        width = int(model.config.hidden_size)
        sizes = {
            f"{self.layers}.{index}.{path}": _size_of(layer.get_submodule(path))
            for index, layer in enumerate(self.layers_of(model))
            for path in self.attention
        }
        return {path: size for path, size in sizes.items() if size != (width, width)}

    def feed_forward_of(self, layer: nn.Module) -> tuple[nn.Linear, nn.Linear]:
        inner, outer = (layer.get_submodule(path) for path in self.feed_forward)
        assert isinstance(inner, nn.Linear)
        assert isinstance(outer, nn.Linear)
        return inner, outer

    def word_embeddings_of(self, model: PreTrainedModel) -> nn.Embedding:
        """The table with a row for each word piece; of a factorised one, the factor that has them."""
        table = model.get_submodule(self.word_embeddings)
        table = table.get_submodule("down") if not isinstance(table, nn.Embedding) else table
        assert isinstance(table, nn.Embedding)
        return table

    def matrices_of(self, model: PreTrainedModel, *, embeddings: bool) -> dict[str, nn.Module]:
        """The linear maps of all layers by path, and the table of the word pieces."""
        matrices = {self.word_embeddings: model.get_submodule(self.word_embeddings)} if embeddings else {}
        return matrices | {
            path: module
            for path, module in model.named_modules()
            if path.startswith(self.layers) and isinstance(module, nn.Linear)
        }

    def weights_of(self, model: PreTrainedModel) -> list[torch.Tensor]:
        """The weights of all these matrices, or of their factors."""
        return [
            part.weight
            for module in self.matrices_of(model, embeddings=True).values()
            for part in module.modules()
            if isinstance(part, (nn.Linear, nn.Embedding))
        ]

    def stored_transposed(self, model: PreTrainedModel) -> set[str]:
        """Names of the weights that a checkpoint holds as (inputs, outputs), those of factors not among them."""
        if not self.transposed:
            return set()
        return {
            f"{path}.weight"
            for path in self.matrices_of(model, embeddings=False)
            if path.endswith(self._maps)
        }

    @property
    def _maps(self) -> tuple[str, ...]:
        return (*self.attention, *self.feed_forward)

    def head_of(self, model: PreTrainedModel) -> list[nn.Module]:
        return [model.get_submodule(path) for path in self.head]


def _size_of(linear: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of a linear map, or of the product of two."""
    first, last = (linear, linear) if isinstance(linear, nn.Linear) else (linear.down, linear.up)
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    return first.in_features, last.out_features


@cache
def anatomy(architecture: Architecture, task: TaskType) -> Anatomy:
    """Where things sit in one of the classes of model that are accepted."""
    body = body_for(architecture, task)
    (model_class,) = (name for name, its_task in CLASSES[architecture].items() if its_task == task)
    return Anatomy(
        **{field.name: getattr(body, field.name) for field in fields(body)},
        config_class=class_named(f"{body.name}Config"),
        task=task,
        model_class=class_named(model_class),
        head=body.heads[task],
    )


def anatomy_for(facts: ModelFacts) -> Anatomy:
    """The anatomy of the model that a checkpoint holds."""
    return anatomy(facts.architecture, facts.task)


def anatomy_of(model: PreTrainedModel) -> Anatomy:
    architecture: Any = model.config.model_type
    return anatomy(architecture, CLASSES[architecture][type(model).__name__])


def states_of(output: Any) -> torch.Tensor:
    """The hidden states (B, L, H) of what a layer puts out: some put them into a tuple."""
    states: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return states


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
