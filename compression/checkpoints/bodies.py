"""Where layers, embeddings and heads sit in each architecture, by the names of transformers."""

from dataclasses import dataclass, replace

from compression.checkpoints.facts import Architecture, TaskType

Heads = dict[TaskType, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class PieceHead:
    """What a model with a masked language model's head has between its last layer and the pieces."""

    dense: str
    norm: str
    decoder: str
    """The linear map to the pieces, whose weight is the table of the embeddings."""
    bias: str
    """The vector of its bias."""
    before: tuple[str, ...] = ()
    """What stands before `dense`."""


@dataclass(frozen=True, slots=True)
class PostNorm:
    """In a layer that computes LN(y + f(y)) of y = LN(x + attention(x)), BERT's form, what methods do not touch."""

    activation: str = "intermediate.intermediate_act_fn"
    dropouts: tuple[str, str | None, str] = (
        "attention.self.dropout",
        "attention.output.dropout",
        "output.dropout",
    )
    """Of the attention weights, of what attention puts out, and of what the feed-forward puts out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Paths to the modules that methods work on, and what is special about them."""

    name: str
    """What the names of its classes in transformers begin with."""
    layers: str
    """The list that the encoder walks: each element maps hidden states (B, L, H) to hidden states (B, L, H)."""
    embeddings: str
    """What holds the table of the word pieces."""
    table: str = "word_embeddings"
    """The table, below `embeddings`; nothing where they are it."""
    positions: str | None = None
    """The table of the positions, where it is not below `embeddings`."""
    entry: tuple[str, ...] = ()
    """What puts out the states that the first layer takes, where that is not `embeddings`: the first that is there."""
    attention: tuple[str, ...] = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
    )
    """In a layer, the linear maps from hidden states to queries, keys and values, and from values back."""
    feed_forward: tuple[str, str] = ("intermediate.dense", "output.dense")
    """In a layer, the linear maps from hidden states to neurons and back."""
    norms: tuple[str, ...] = ("attention.output.LayerNorm", "output.LayerNorm")
    """In a layer, its norms."""
    post_norm: PostNorm | None = None
    """Where layers have BERT's form, the rest of what is in them."""
    pre_norm: bool = False
    """Norms stand before what computes, so that a layer does not end with one."""
    intermediate_size: str = "intermediate_size"
    """What the config calls the number of neurons of a layer."""
    positions_after_padding: bool = False
    """Positions are counted from the padding id + 1, which therefore must stay what it is."""
    causal: bool = False
    """A position sees itself and those before it."""
    transposed: bool = False
    """The linear maps of its layers are stored as (inputs, outputs): `Conv1D` of transformers."""
    own_mask: bool = False
    """Its attention takes no mask of four dimensions as it is: it makes more, or something else, of one of two."""
    rotary: bool = False
    """Positions turn queries and keys."""
    kind: str | None = None
    """The attribute of a layer that says how it attends; the config lists them by layer as `layer_types`."""
    first_without: str | None = None
    """The norm before its attention that the first layer does not have."""
    classifier: tuple[str, ...] = ("classifier",)
    """The head of text classification."""
    tagger: tuple[str, ...] | None = ("classifier",)
    """That of token classification."""
    spans: tuple[str, ...] | None = ("qa_outputs",)
    """That of question answering."""
    pieces: PieceHead | None = PieceHead(
        "lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"
    )
    """That of masked language modelling."""
    generator: tuple[str, ...] | None = None
    """That of causal language modelling, before the table that is the embeddings' too, which is called `lm_head`."""
    encoder: tuple[str, ...] | None = ()
    """What an encoder of sentences has behind its layers, by the names of its own class."""

    @property
    def heads(self) -> Heads:
        """Modules between the last layer and the logits, for each task that there is a class for."""
        heads: dict[TaskType, tuple[str, ...] | None] = {
            "text-classification": self.classifier,
            "token-classification": self.tagger,
            "question-answering": self.spans,
            "fill-mask": (*self.pieces.before, self.pieces.dense, self.pieces.norm) if self.pieces else None,
            "sentence-similarity": self.encoder,
            "text-generation": self.generator,
        }
        return {task: modules for task, modules in heads.items() if modules is not None}

    @property
    def root(self) -> str:
        """The model without its head."""
        return self.embeddings.split(".")[0]

    @property
    def word_embeddings(self) -> str:
        """Path to the table with a row for each word piece."""
        return f"{self.embeddings}.{self.table}".removesuffix(".")


def _like_roberta(name: str) -> Body:
    return Body(
        name=name,
        layers="roberta.encoder.layer",
        embeddings="roberta.embeddings",
        post_norm=PostNorm(),
        positions_after_padding=True,
    )


_BERT_PIECES = PieceHead(
    "cls.predictions.transform.dense",
    "cls.predictions.transform.LayerNorm",
    "cls.predictions.decoder",
    "cls.predictions.bias",
)
_MODERN_HEAD = ("model.final_norm", "head", "classifier")
BODIES: dict[Architecture, Body] = {
    "bert": Body(
        name="Bert",
        layers="bert.encoder.layer",
        embeddings="bert.embeddings",
        post_norm=PostNorm(),
        classifier=("bert.pooler", "classifier"),
        pieces=_BERT_PIECES,
    ),
    "roberta": _like_roberta("Roberta"),
    "distilbert": Body(
        name="DistilBert",
        layers="distilbert.transformer.layer",
        embeddings="distilbert.embeddings",
        attention=("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
        feed_forward=("ffn.lin1", "ffn.lin2"),
        norms=("sa_layer_norm", "output_layer_norm"),
        post_norm=PostNorm("ffn.activation", ("attention.dropout", None, "ffn.dropout")),
        intermediate_size="hidden_dim",
        classifier=("pre_classifier", "classifier"),
        pieces=PieceHead("vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector.bias"),
    ),
    "xlm-roberta": _like_roberta("XLMRoberta"),
    "camembert": _like_roberta("Camembert"),
    "electra": Body(
        name="Electra",
        layers="electra.encoder.layer",
        embeddings="electra.embeddings",
        post_norm=PostNorm(),
        entry=("electra.embeddings_project",),
        pieces=PieceHead(
            "generator_predictions.dense",
            "generator_predictions.LayerNorm",
            "generator_lm_head",
            "generator_lm_head.bias",
        ),
    ),
    "albert": Body(
        name="Albert",
        layers="albert.encoder.albert_layer_groups",  # each a layer that serves several depths
        embeddings="albert.embeddings",
        entry=("albert.encoder.embedding_hidden_mapping_in",),
        attention=tuple(f"albert_layers.0.attention.{name}" for name in ("query", "key", "value", "dense")),
        feed_forward=("albert_layers.0.ffn", "albert_layers.0.ffn_output"),
        norms=("albert_layers.0.attention.LayerNorm", "albert_layers.0.full_layer_layer_norm"),
        classifier=("albert.pooler", "classifier"),
        pieces=PieceHead(
            "predictions.dense", "predictions.LayerNorm", "predictions.decoder", "predictions.bias"
        ),
    ),
    "mpnet": Body(
        name="MPNet",
        layers="mpnet.encoder.layer",
        embeddings="mpnet.embeddings",
        attention=("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"),
        norms=("attention.LayerNorm", "output.LayerNorm"),
        positions_after_padding=True,
        own_mask=True,
    ),
    "deberta-v2": Body(
        name="DebertaV2",
        layers="deberta.encoder.layer",
        embeddings="deberta.embeddings",
        attention=(
            "attention.self.query_proj",
            "attention.self.key_proj",
            "attention.self.value_proj",
            "attention.output.dense",
        ),
        own_mask=True,
        classifier=("pooler", "classifier"),
        pieces=_BERT_PIECES,
    ),
    "modernbert": Body(
        name="ModernBert",
        layers="model.layers",
        embeddings="model.embeddings",
        table="tok_embeddings",
        attention=("attn.Wqkv", "attn.Wo"),
        feed_forward=("mlp.Wi", "mlp.Wo"),
        norms=("attn_norm", "mlp_norm"),
        pre_norm=True,
        rotary=True,
        kind="attention_type",
        first_without="attn_norm",
        own_mask=True,
        classifier=_MODERN_HEAD,
        tagger=_MODERN_HEAD,
        spans=_MODERN_HEAD,
        pieces=PieceHead("head.dense", "head.norm", "decoder", "decoder.bias", before=("model.final_norm",)),
        encoder=("final_norm",),
    ),
    "gpt2": Body(
        name="GPT2",
        layers="transformer.h",
        embeddings="transformer.wte",
        table="",
        positions="transformer.wpe",
        entry=("transformer.drop",),
        attention=("attn.c_attn", "attn.c_proj"),
        feed_forward=("mlp.c_fc", "mlp.c_proj"),
        norms=("ln_1", "ln_2"),
        pre_norm=True,
        intermediate_size="n_inner",
        causal=True,
        transposed=True,
        own_mask=True,
        classifier=("transformer.ln_f", "score"),
        generator=("transformer.ln_f",),
        tagger=("transformer.ln_f", "classifier"),
        spans=None,
        pieces=None,
        encoder=None,
    ),
    "bilstm": Body(
        name="BiLstm",
        layers="lstm.layers",
        embeddings="lstm.embeddings",
        table="",
        attention=(),
        norms=(),
        own_mask=True,
        classifier=("dense", "classifier"),
        spans=None,
        pieces=None,
        encoder=None,
    ),
}
"""Each architecture that is accepted."""


def body_for(architecture: Architecture, task: TaskType) -> Body:
    """The body as it is found in the models for a task: a plain encoder has its modules at the top."""
    body = BODIES[architecture]
    if task != "sentence-similarity":
        return body

    def bare(path: str) -> str:
        return path.removeprefix(f"{body.root}.")

    return replace(
        body,
        layers=bare(body.layers),
        embeddings=bare(body.embeddings),
        entry=tuple(map(bare, body.entry)),
    )
