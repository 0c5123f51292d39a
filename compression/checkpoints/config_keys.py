"""The keys of a `config.json` that may reach transformers, for each architecture, with their bounds."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

MAX_LABELS = 1000

Layers = Annotated[int, Field(ge=1, le=128)]
Heads = Annotated[int, Field(ge=1, le=256)]
Width = Annotated[int, Field(ge=1, le=16_384)]
InnerWidth = Annotated[int, Field(ge=1, le=65_536)]
Vocabulary = Annotated[int, Field(ge=1, le=1_000_000)]
Positions = Annotated[int, Field(ge=4, le=65_536)]
TokenTypes = Annotated[int, Field(ge=1, le=16)]
TokenId = Annotated[int, Field(ge=0, lt=1_000_000)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0, le=0.1)]
Deviation = Annotated[float, Field(ge=0, le=10)]
Theta = Annotated[float, Field(gt=1, le=1e9)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Activation = Literal["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh"]
Dtype = Literal["float32", "float16", "bfloat16"]


class Form(BaseModel):
    """How weights are stored that are not the architecture's own: see `plankwright_model.py`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    sizes: Annotated[
        dict[str, Annotated[list[Width], Field(min_length=2, max_length=2)]], Field(max_length=600)
    ] = {}
    """Inputs and outputs by path of the linear maps of layers whose attention has fewer heads than the config says."""
    low_rank: Annotated[dict[str, Width], Field(max_length=2000)] = {}
    """Rank by path of the module."""
    packed: bool = False
    bits: Annotated[dict[str, Annotated[int, Field(ge=2, le=8)]], Field(max_length=2000)] = {}
    """Bits of each element by name of the weight, where they are few."""
    group_size: Annotated[int, Field(ge=8, le=4096)] = 128
    """Elements in a row that share a scale."""


class _Config(BaseModel):
    """What the architectures share. Keys not declared in these classes are dropped and reach nobody."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    WIDTH: ClassVar[str] = "hidden_size"
    """What the config calls the width of its layers."""
    POSITIONS: ClassVar[str] = "max_position_embeddings"

    architectures: list[str] | None = None
    vocab_size: Vocabulary
    pad_token_id: TokenId | None = 0
    initializer_range: Deviation = 0.02
    id2label: Annotated[dict[str, Label], Field(min_length=1, max_length=MAX_LABELS)] | None = None
    label2id: Annotated[dict[str, int], Field(max_length=MAX_LABELS)] | None = None
    num_labels: Annotated[int, Field(ge=1, le=MAX_LABELS)] | None = None
    problem_type: (
        Literal["regression", "single_label_classification", "multi_label_classification"] | None
    ) = None
    dtype: Dtype | None = None
    torch_dtype: Dtype | None = None
    tie_word_embeddings: bool = True
    plankwright: Form | None = None

    @property
    def labels(self) -> list[str]:
        """Names by class id, those of transformers where the config gives none."""
        if self.id2label is not None:
            return [self.id2label[str(i)] for i in range(len(self.id2label))]
        return [f"LABEL_{i}" for i in range(self.num_labels or 2)]


class _EncoderConfig(_Config):
    max_position_embeddings: Positions

    @property
    def max_length(self) -> int:
        """Word pieces that fit."""
        return self.max_position_embeddings


class _BertLikeConfig(_EncoderConfig):
    hidden_size: Width
    num_hidden_layers: Layers
    num_attention_heads: Heads
    intermediate_size: InnerWidth
    type_vocab_size: TokenTypes = 2
    hidden_act: Activation = "gelu"
    hidden_dropout_prob: Rate = 0.1
    attention_probs_dropout_prob: Rate = 0.1
    classifier_dropout: Rate | None = None
    layer_norm_eps: Epsilon = 1e-12


class BertConfig(_BertLikeConfig):
    model_type: Literal["bert"]


class _PositionsAfterPadding(_BertLikeConfig):
    """Positions are counted from the padding id + 1."""

    pad_token_id: TokenId = 1

    @property
    def max_length(self) -> int:
        return self.max_position_embeddings - self.pad_token_id - 1


class RobertaConfig(_PositionsAfterPadding):
    model_type: Literal["roberta", "xlm-roberta", "camembert"]


class MPNetConfig(_PositionsAfterPadding):
    model_type: Literal["mpnet"]
    pad_token_id: Literal[1] = 1
    """The model's code has it too."""
    relative_attention_num_buckets: Annotated[int, Field(ge=32, le=512)] = 32
    """The model's code fills 32."""


class ElectraConfig(_BertLikeConfig):
    model_type: Literal["electra"]
    embedding_size: Width = 128


class DebertaV2Config(_BertLikeConfig):
    """DeBERTa-v2 and v3, which is a v2 with shared keys, buckets of positions and a norm of their embeddings."""

    model_type: Literal["deberta-v2"]
    type_vocab_size: Annotated[int, Field(ge=0, le=16)] = 0
    layer_norm_eps: Epsilon = 1e-7
    relative_attention: bool = False
    max_relative_positions: Annotated[int, Field(ge=-1, le=65_536)] = -1
    position_buckets: Annotated[int, Field(ge=4, le=65_536)] | Literal[-1] = -1
    position_biased_input: bool = True
    pos_att_type: list[Literal["c2p", "p2c"]] | Literal["c2p", "p2c", "c2p|p2c", "p2c|c2p"] | None = None
    share_att_key: bool = False
    norm_rel_ebd: Literal["none", "layer_norm"] = "none"
    pooler_dropout: Rate = 0.0
    pooler_hidden_act: Activation = "gelu"
    cls_dropout: Rate | None = None
    legacy: Literal[True] = True
    """How the head of a masked language model is made: the other way has another one."""

    @property
    def positions(self) -> int:
        """Rows of the table of relative positions."""
        reach = (
            self.max_relative_positions if self.max_relative_positions > 0 else self.max_position_embeddings
        )
        return 2 * (self.position_buckets if self.position_buckets > 0 else reach)

    @property
    def own_position_maps(self) -> tuple[str, ...]:
        """In a layer, the maps from relative positions to keys and queries."""
        if not self.relative_attention or self.share_att_key:
            return ()
        maps = {"c2p": "pos_key_proj", "p2c": "pos_query_proj"}
        return tuple(name for kind, name in maps.items() if kind in (self.pos_att_type or ()))


class AlbertConfig(_BertLikeConfig):
    model_type: Literal["albert"]
    embedding_size: Width = 128
    num_hidden_groups: Layers = 1
    inner_group_num: Literal[1] = 1
    """Layers of a group that have weights of their own; no checkpoint is known that has several."""
    classifier_dropout_prob: Rate = 0.1


class DistilBertConfig(_EncoderConfig):
    WIDTH: ClassVar[str] = "dim"

    model_type: Literal["distilbert"]
    dim: Width
    n_layers: Layers
    n_heads: Heads
    hidden_dim: InnerWidth
    sinusoidal_pos_embds: bool = False
    activation: Activation = "gelu"
    dropout: Rate = 0.1
    attention_dropout: Rate = 0.1
    seq_classif_dropout: Rate = 0.2
    qa_dropout: Rate = 0.1

    @property
    def hidden_size(self) -> int:
        return self.dim

    @property
    def num_hidden_layers(self) -> int:
        return self.n_layers

    @property
    def num_attention_heads(self) -> int:
        return self.n_heads

    @property
    def intermediate_size(self) -> int:
        return self.hidden_dim


class Rope(BaseModel):
    """How positions turn queries and keys."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    rope_type: Literal["default"] = "default"
    rope_theta: Theta | None = None


class Ropes(BaseModel):
    """The same by kind of layer."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    full_attention: Rope = Rope()
    sliding_attention: Rope = Rope()


class ModernBertConfig(_EncoderConfig):
    model_type: Literal["modernbert"]
    hidden_size: Width
    num_hidden_layers: Layers
    num_attention_heads: Heads
    intermediate_size: InnerWidth
    pad_token_id: TokenId = 50283
    bos_token_id: TokenId | None = 50281
    eos_token_id: TokenId | None = 50282
    cls_token_id: TokenId | None = 50281
    sep_token_id: TokenId | None = 50282
    hidden_activation: Activation = "gelu"
    classifier_activation: Activation = "gelu"
    norm_eps: Epsilon = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    classifier_bias: bool = False
    decoder_bias: bool = True
    attention_dropout: Rate = 0.0
    embedding_dropout: Rate = 0.0
    mlp_dropout: Rate = 0.0
    classifier_dropout: Rate = 0.0
    classifier_pooling: Literal["cls", "mean"] = "cls"
    local_attention: Annotated[int, Field(ge=2, le=65_536)] = 128
    """Word pieces that a layer of the kind `sliding_attention` sees."""
    layer_types: list[Literal["full_attention", "sliding_attention"]] | None = None
    global_attn_every_n_layers: Layers = 3
    """What stands for `layer_types` in older checkpoints."""
    rope_parameters: Ropes | None = None
    global_rope_theta: Theta = 160_000.0
    local_rope_theta: Theta = 10_000.0


class Gpt2Config(_Config):
    WIDTH: ClassVar[str] = "n_embd"
    POSITIONS: ClassVar[str] = "n_positions"

    model_type: Literal["gpt2"]
    n_embd: Width
    n_layer: Layers
    n_head: Heads
    n_positions: Positions
    n_inner: InnerWidth | None = None
    activation_function: Activation = "gelu_new"
    resid_pdrop: Rate = 0.1
    embd_pdrop: Rate = 0.1
    attn_pdrop: Rate = 0.1
    layer_norm_epsilon: Epsilon = 1e-5
    scale_attn_weights: bool = True
    pad_token_id: TokenId | None = None
    bos_token_id: TokenId | None = 50256
    eos_token_id: TokenId | None = 50256

    @property
    def hidden_size(self) -> int:
        return self.n_embd

    @property
    def num_hidden_layers(self) -> int:
        return self.n_layer

    @property
    def num_attention_heads(self) -> int:
        return self.n_head

    @property
    def intermediate_size(self) -> int:
        return self.n_inner or 4 * self.n_embd

    @property
    def max_length(self) -> int:
        return self.n_positions


class BiLstmConfig(_EncoderConfig):
    model_type: Literal["bilstm"]
    embedding_size: Width
    hidden_size: Width
    num_hidden_layers: Annotated[int, Field(ge=1, le=16)] = 1
    dropout: Rate = 0.1
    sep_token_id: TokenId | None = None
    """The piece behind the first text of a pair, where a head compares two texts."""

    num_attention_heads: ClassVar[int] = 0
    intermediate_size: ClassVar[int] = 0


CheckedConfig = (
    BertConfig
    | RobertaConfig
    | DistilBertConfig
    | ElectraConfig
    | AlbertConfig
    | MPNetConfig
    | DebertaV2Config
    | ModernBertConfig
    | Gpt2Config
    | BiLstmConfig
)
CONFIGS: dict[str, type[CheckedConfig]] = {
    model_type: config
    for config in get_args(CheckedConfig)
    for model_type in get_args(config.model_fields["model_type"].annotation)
}
"""By what `model_type` says."""
