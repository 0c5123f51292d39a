"""Where layers, embeddings and heads sit in each architecture, so that no method names a module path."""

from dataclasses import asdict, dataclass

from torch import nn
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
)

from compression.checkpoints.facts import Architecture, ModelFacts, TaskType


@dataclass(frozen=True, slots=True)
class Body:
    """What all models of an architecture share: the config, and paths to the modules that methods work on."""

    config_class: type[PretrainedConfig]
    layers: str
    """The list that the encoder walks: each element maps hidden states (B, L, H) to hidden states (B, L, H)."""
    embeddings: str
    attention: tuple[str, str, str, str] = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
    )
    """In a layer, the linear maps from hidden states to queries, keys and values, and from values back."""
    feed_forward: tuple[str, str] = ("intermediate.dense", "output.dense")
    """In a layer, the linear maps from hidden states to neurons and back."""
    intermediate_size: str = "intermediate_size"
    """What the config calls the number of these neurons."""
    positions_after_padding: bool = False
    """Positions are counted from the padding id + 1, which therefore must stay what it is."""

    @property
    def word_embeddings(self) -> str:
        return f"{self.embeddings}.word_embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy(Body):
    """One class of model: an architecture with the head of a task."""

    model_class: type[PreTrainedModel]
    head: tuple[str, ...]
    """Modules between the last layer and the logits."""

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

    def attention_of(self, layer: nn.Module) -> list[nn.Linear]:
        """The maps to queries, keys and values, and from values back."""
        maps = [layer.get_submodule(path) for path in self.attention]
        return [linear for linear in maps if isinstance(linear, nn.Linear)]

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

    def head_of(self, model: PreTrainedModel) -> list[nn.Module]:
        return [model.get_submodule(path) for path in self.head]


_BODIES: dict[Architecture, Body] = {
    "bert": Body(BertConfig, "bert.encoder.layer", "bert.embeddings"),
    "roberta": Body(
        RobertaConfig, "roberta.encoder.layer", "roberta.embeddings", positions_after_padding=True
    ),
    "distilbert": Body(
        DistilBertConfig,
        "distilbert.transformer.layer",
        "distilbert.embeddings",
        attention=("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
        feed_forward=("ffn.lin1", "ffn.lin2"),
        intermediate_size="hidden_dim",
    ),
}
_HEADS: dict[tuple[Architecture, TaskType], tuple[type[PreTrainedModel], tuple[str, ...]]] = {
    ("bert", "text-classification"): (BertForSequenceClassification, ("bert.pooler", "classifier")),
    ("bert", "token-classification"): (BertForTokenClassification, ("classifier",)),
    ("bert", "question-answering"): (BertForQuestionAnswering, ("qa_outputs",)),
    ("roberta", "text-classification"): (RobertaForSequenceClassification, ("classifier",)),
    ("roberta", "token-classification"): (RobertaForTokenClassification, ("classifier",)),
    ("roberta", "question-answering"): (RobertaForQuestionAnswering, ("qa_outputs",)),
    ("distilbert", "text-classification"): (
        DistilBertForSequenceClassification,
        ("pre_classifier", "classifier"),
    ),
    ("distilbert", "token-classification"): (DistilBertForTokenClassification, ("classifier",)),
    ("distilbert", "question-answering"): (DistilBertForQuestionAnswering, ("qa_outputs",)),
}
ANATOMIES: dict[tuple[Architecture, TaskType], Anatomy] = {
    (architecture, task): Anatomy(**asdict(_BODIES[architecture]), model_class=model_class, head=head)
    for (architecture, task), (model_class, head) in _HEADS.items()
}
"""Where things sit in each class of model that is accepted."""

_BY_CLASS = {anatomy.model_class: anatomy for anatomy in ANATOMIES.values()}


def anatomy_for(facts: ModelFacts) -> Anatomy:
    """The anatomy of the model that a checkpoint holds."""
    return ANATOMIES[facts.architecture, facts.task]


def anatomy_of(model: PreTrainedModel) -> Anatomy:
    return _BY_CLASS[type(model)]


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
