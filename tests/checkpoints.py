"""Tiny checkpoints with random weights, written by transformers itself as a user's would be."""

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from compression.checkpoints.facts import Architecture, TaskType

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WORDS = """
    the a an and or not is was it this that movie film plot actor story good great fine bad poor awful boring
    happy sad red green blue big small house dog cat man woman eats sees likes never very
""".split()  # noqa: SIM905 (forty quoted words read worse)
"""Words that are one token for the WordPiece tokenizers; all else is spelt in single characters."""

MAX_LENGTH = 64
LABELS: dict[TaskType, tuple[str, ...]] = {
    "text-classification": ("negative", "positive"),
    "token-classification": ("O", "B-thing", "I-thing"),
    "question-answering": ("LABEL_0", "LABEL_1"),
    "fill-mask": ("LABEL_0", "LABEL_1"),
    "sentence-similarity": ("LABEL_0", "LABEL_1"),
    "text-generation": ("LABEL_0", "LABEL_1"),
}


BRACKETED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORD_PIECE: dict[Architecture, tuple[str, tuple[str, ...]]] = {
    "bert": ("BertTokenizer", BRACKETED),
    "distilbert": ("DistilBertTokenizer", BRACKETED),
    "electra": ("ElectraTokenizer", BRACKETED),
    "bilstm": ("BertTokenizer", BRACKETED),
    "mpnet": ("MPNetTokenizer", ("<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>")),
}
UNIGRAM: dict[Architecture, tuple[str, tuple[str, ...]]] = {
    "xlm-roberta": ("XLMRobertaTokenizer", ("<s>", "<pad>", "</s>", "<unk>", "<mask>")),
    "deberta-v2": ("DebertaV2Tokenizer", ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")),
    "camembert": ("CamembertTokenizer", ("<s>", "<pad>", "</s>", "<unk>", "<mask>")),
    "albert": ("AlbertTokenizer", ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")),
}
"""Class of the tokenizer, and its special tokens by id."""
MODERN_TOKENS = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
SPECIAL: dict[Architecture, dict[str, Any]] = {
    "roberta": {"type_vocab_size": 1},
    "xlm-roberta": {"type_vocab_size": 1},
    "camembert": {"type_vocab_size": 1},
    "electra": {"embedding_size": 8},
    "deberta-v2": {  # as in v3
        "relative_attention": True,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "position_biased_input": False,
    },
    "modernbert": {"local_attention": 8, "pad_token_id": 1, **dict.fromkeys(MODERN_TOKENS, 0)},
    "gpt2": {"pad_token_id": 1},
    "albert": {"embedding_size": 8},
    "bilstm": {"embedding_size": 8, "sep_token_id": 3},
}
"""What its config says beside the sizes."""


def make_tiny_checkpoint(
    folder: Path,
    architecture: Architecture = "bert",
    *,
    layers: int = 2,
    hidden: int = 16,
    task: TaskType = "text-classification",
    labels: Sequence[str] | None = None,
    regression: bool = False,
    several: bool = False,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    seed: int = 0,
    max_shard_size: str = "1GB",
    **config: Any,
) -> Path:
    """Write a model with random weights and its tokenizer to `folder`, and return the folder.

    `config` is what its config says beside the sizes, where that is not the usual.
    """
    import torch  # costs seconds, and not every test that imports this module makes a checkpoint

    tokenizer = _tokenizer(architecture)
    names = ["LABEL_0"] if regression else list(labels or LABELS[task])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _random_model(architecture, task, layers, hidden, len(tokenizer), names, config)
    if task == "text-classification":
        model.config.problem_type = (
            "regression"
            if regression
            else "multi_label_classification"
            if several
            else "single_label_classification"
        )
    model.to(dtype=getattr(torch, dtype))  # type: ignore[call-arg]
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tokenizer.save_pretrained(folder)
    if task == "sentence-similarity":
        write_modules(folder, hidden)
    return folder


def write_modules(folder: Path, width: int, pooling: str = "pooling_mode_mean_tokens") -> None:
    """The files that the package sentence-transformers adds, as its second version wrote them."""
    kinds = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(kinds)
    ]
    (folder / "1_Pooling").mkdir(exist_ok=True)
    for name, content in (
        ("modules.json", modules),
        ("1_Pooling/config.json", {"word_embedding_dimension": width, pooling: True}),
        ("sentence_bert_config.json", {"max_seq_length": MAX_LENGTH, "do_lower_case": False}),
    ):
        (folder / name).write_text(json.dumps(content))


def _random_model(
    architecture: Architecture,
    task: TaskType,
    layers: int,
    hidden: int,
    vocabulary: int,
    labels: list[str],
    config: dict[str, Any],
) -> "PreTrainedModel":
    from compression.architectures import anatomy

    common: dict[str, Any] = {
        "vocab_size": vocabulary,
        # The usual deviation of 0.02 leaves so small a model with the same logits for every input.
        "initializer_range": 0.2,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    wanted = anatomy(architecture, task)
    common |= {"num_hidden_layers": layers, "hidden_size": hidden}
    if wanted.attention:
        common |= {"num_attention_heads": 2, wanted.intermediate_size: 2 * hidden}
    # Where positions are counted from the padding id + 1, there are two more.
    common |= {"max_position_embeddings": MAX_LENGTH + (2 if wanted.positions_after_padding else 0)}
    return wanted.model_class(wanted.config_class(**common | SPECIAL.get(architecture, {}) | config))


def _tokenizer(architecture: Architecture) -> "PreTrainedTokenizerBase":
    import transformers
    from tokenizers.pre_tokenizers import ByteLevel

    if architecture in ("roberta", "gpt2", "modernbert"):
        merges = [("t", "h"), ("th", "e"), ("i", "s"), ("Ġ", "the")]
        bytes_and_merges = [*sorted(ByteLevel.alphabet()), *map("".join, merges)]
        tokens = ["<s>", "<pad>", "</s>", "<unk>", *bytes_and_merges, "<mask>"]
        vocabulary = {token: i for i, token in enumerate(tokens)}
        if architecture == "gpt2":
            return transformers.GPT2Tokenizer(
                vocab=vocabulary,
                merges=merges,  # type: ignore[arg-type]
                model_max_length=MAX_LENGTH,
                pad_token="<pad>",
            )
        return transformers.RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_LENGTH)  # type: ignore[arg-type]
    characters = string.ascii_lowercase + string.digits + string.punctuation
    if architecture in UNIGRAM:
        name, special = UNIGRAM[architecture]
        scored = [(piece, 0.0) for piece in special]
        scored += [(piece, -9.0) for piece in ("\u2581", *characters)]
        scored += [(f"\u2581{word}", -3.0 - i / 100) for i, word in enumerate(WORDS)]
        return getattr(transformers, name)(vocab=scored, model_max_length=MAX_LENGTH)  # type: ignore[no-any-return]
    name, special = WORD_PIECE[architecture]
    tokens = [*special, *characters, *(f"##{c}" for c in characters), *WORDS]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    tokenizer_class = getattr(transformers, name)
    return tokenizer_class(vocab=vocabulary, do_lower_case=True, model_max_length=MAX_LENGTH)  # type: ignore[no-any-return]
