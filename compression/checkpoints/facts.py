"""What is known of a checkpoint before anything of it is built."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from compression.checkpoints.sentence import SentenceHead

Architecture = Literal[
    "bert",
    "roberta",
    "distilbert",
    "xlm-roberta",
    "camembert",
    "electra",
    "albert",
    "mpnet",
    "deberta-v2",
    "modernbert",
    "gpt2",
    "bilstm",
]
"""Named as `model_type` in a config."""
OWN: tuple[Architecture, ...] = ("bilstm",)
"""What no transformers has: `plankwright_model.py` defines it."""
TaskType = Literal[
    "text-classification",
    "token-classification",
    "question-answering",
    "fill-mask",
    "sentence-similarity",
    "text-generation",
]
"""Named as the Hugging Face Hub names them. A checkpoint's own class tells its task."""
TIED: tuple[TaskType, ...] = ("fill-mask", "text-generation")
"""Tasks whose answers are word pieces, read from the same table that the words are looked up in."""
ProblemType = Literal["single_label", "multi_label", "regression"]


class ModelFacts(BaseModel):
    """What the inspection of a checkpoint found; sizes are those of its config, checked against its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Architecture
    task: TaskType
    problem_type: ProblemType | None
    """The kind of text classification; null for other tasks."""
    labels: list[str]
    """Label names by class id; one entry for regression."""
    layers: int
    layer_groups: int | None = None
    """Layers that have weights of their own, each run several times over; null where all have."""
    hidden_size: int
    attention_heads: int
    """0 in a model without attention."""
    intermediate_size: int
    vocabulary_size: int
    vocabulary: str | None = None
    """Digest of the tokenizer's pieces and their ids; null for a model that was inspected before there was one."""
    pieces: int | None = None
    """Word pieces that its tokenizer knows; null as for `vocabulary`, and where only the tokenizer at work can tell."""
    required_pieces: int | None = None
    """How many of them no tokenizer of the kind can do without: special tokens, single characters; null as `pieces`."""
    max_length: int
    """Word pieces that fit, special ones included."""
    token_types: int | None = None
    """Rows of its table of token types, 0 where there is no such table; null as for `vocabulary`."""
    pad_token_id: int | None = None
    """The piece that it takes for padding, where that decides what it computes; else null."""
    parameters: int
    bytes: int
    """Of the weight files."""
    dtype: str
    fewer_heads: bool = False
    """Some layers have fewer attention heads than `attention_heads`."""
    low_rank: bool = False
    """Some weights are products of two factors."""
    packed: bool = False
    """Weights are stored without their zeros."""
    few_bits: bool = False
    """Weights are stored in codes of few bits; they are loaded as float32."""
    sentence: SentenceHead | None = None
    """How an encoder of sentences makes one vector of a text; null for other tasks."""

    @property
    def plain(self) -> bool:
        """Whether transformers alone can load the checkpoint."""
        return not self.own_form and self.architecture not in OWN

    @property
    def own_form(self) -> bool:
        """Whether weights are stored in another form than the architecture's."""
        return self.fewer_heads or self.low_rank or self.packed or self.few_bits
