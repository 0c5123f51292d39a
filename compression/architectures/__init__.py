"""Where layers, embeddings and heads sit in each architecture, so that no method names a module path."""

from dataclasses import dataclass

from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One architecture: its classes, and paths to the modules that methods work on."""

    config_class: type[PretrainedConfig]
    model_class: type[PreTrainedModel]
    layers: str
    """The list that the encoder walks: each element maps hidden states (B, L, H) to hidden states (B, L, H)."""
    embeddings: str
    head: tuple[str, ...]
    """Modules between the last layer and the logits."""
    positions_after_padding: bool = False
    """Positions are counted from the padding id + 1, which therefore must stay what it is."""

    def layers_of(self, model: PreTrainedModel) -> nn.ModuleList:
        layers = model.get_submodule(self.layers)
        assert isinstance(layers, nn.ModuleList)
        return layers

    def put_layers(self, model: PreTrainedModel, layers: list[nn.Module]) -> None:
        """Make `layers` the encoder's list, and their number the depth that the config tells."""
        parent, name = self.layers.rsplit(".", 1)
        for index, layer in enumerate(layers):
            for module in layer.modules():
                if hasattr(module, "layer_idx"):
                    module.layer_idx = index  # type: ignore[assignment]  # a plain int attribute
        setattr(model.get_submodule(parent), name, nn.ModuleList(layers))
        model.config.num_hidden_layers = len(layers)  # DistilBERT maps it to n_layers

    def word_embeddings_of(self, model: PreTrainedModel) -> nn.Embedding:
        """The table with a row for each word piece."""
        table = model.get_submodule(f"{self.embeddings}.word_embeddings")
        assert isinstance(table, nn.Embedding)
        return table

    def head_of(self, model: PreTrainedModel) -> list[nn.Module]:
        return [model.get_submodule(path) for path in self.head]


ANATOMIES: dict[str, Anatomy] = {
    "bert": Anatomy(
        BertConfig,
        BertForSequenceClassification,
        layers="bert.encoder.layer",
        embeddings="bert.embeddings",
        head=("bert.pooler", "classifier"),
    ),
    "roberta": Anatomy(
        RobertaConfig,
        RobertaForSequenceClassification,
        layers="roberta.encoder.layer",
        embeddings="roberta.embeddings",
        head=("classifier",),
        positions_after_padding=True,
    ),
    "distilbert": Anatomy(
        DistilBertConfig,
        DistilBertForSequenceClassification,
        layers="distilbert.transformer.layer",
        embeddings="distilbert.embeddings",
        head=("pre_classifier", "classifier"),
    ),
}


def anatomy_of(model: PreTrainedModel) -> Anatomy:
    return ANATOMIES[model.config.model_type]


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
