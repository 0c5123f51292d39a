"""Turns an inspected checkpoint folder into a model and back."""

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.pytorch_utils import Conv1D
from transformers.utils.logging import disable_progress_bar

from compression.architectures import Anatomy, anatomy_for, anatomy_of
from compression.checkpoints import plankwright_model
from compression.checkpoints.config import parse_config
from compression.checkpoints.facts import OWN, ModelFacts, ProblemType
from compression.checkpoints.few_bits import in_few_bits
from compression.checkpoints.inspection import checkpoint_files, inspect_checkpoint, sanitized_config
from compression.checkpoints.plankwright_model import (
    LowRankEmbedding,
    LowRankLinear,
    build,
    exchange,
    options,
    packed,
    resize,
    unpacked,
)
from compression.checkpoints.sentence import SETTINGS, write_sentence_files
from compression.checkpoints.weights import OWN_FORM, SINGLE
from compression.errors import InputError, Problem

disable_progress_bar()  # nobody watches: standard error is the log of a job
TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json")
VOCABULARY_FILES = ("tokenizer.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt")
PROBLEM_TYPES: dict[
    ProblemType | None, Literal["regression", "single_label_classification", "multi_label_classification"]
] = {
    "regression": "regression",
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
}
"""What transformers calls them."""
PRUNED = "pruned"
"""Key of a form that a step leaves for those behind it, of a model that is stored with its zeros; no file has it."""
STORAGE_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint that has been inspected and whose tokenizer can be read."""

    folder: Path
    facts: ModelFacts
    tokenizer: PreTrainedTokenizerFast
    changed_tokenizer: str | None = None
    """Content of the tokenizer.json that `tokenizer` is made of, where it is not that of the folder."""


def open_source(folder: Path) -> Source:
    """Inspect a checkpoint and read its tokenizer.

    Raises:
        InputError: the checkpoint is not what it says, or its tokenizer cannot be read.
    """
    facts = inspect_checkpoint(folder)
    tokenizer = load_tokenizer(folder)
    if len(tokenizer) > facts.vocabulary_size:
        message = (
            f"the tokenizer has {len(tokenizer)} entries, the embedding table {facts.vocabulary_size} rows"
        )
        raise InputError(Problem("vocabulary_mismatch", message, "tokenizer.json"))
    return Source(folder, facts, tokenizer)


def load_model(
    folder: Path, facts: ModelFacts, device: torch.device, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """The checkpoint as a standard transformers model: evaluation mode, every weight from the files.

    Raises:
        InputError: a weight of the model is not in the files (transformers would leave it random).
    """
    anatomy = anatomy_for(facts)
    config = anatomy.config_class.from_dict(
        sanitized_config(json.loads((folder / "config.json").read_bytes()))
    )
    config.problem_type = PROBLEM_TYPES.get(facts.problem_type)
    if anatomy.causal:
        config.use_cache = False  # keys and values of what was read before are for generating
    if facts.own_form:
        return _load_own_form(folder, anatomy, config, device)
    loaded: Any = anatomy.model_class.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        attn_implementation="sdpa" if anatomy.model_class._supports_sdpa else "eager",
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        **options(anatomy.model_class),
    )
    model, info = loaded
    if missing := info["missing_keys"]:
        message = f"weights are missing: {', '.join(sorted(missing)[:5])}"
        raise InputError(Problem("missing_weights", message, "model.safetensors"))
    put_linear_maps(model)
    return cast(PreTrainedModel, model.eval().to(device))


def _load_own_form(
    folder: Path, anatomy: Anatomy, config: PretrainedConfig, device: torch.device
) -> PreTrainedModel:
    model = _stored_model(anatomy, config)
    form = _form(config)
    model.load_state_dict(unpacked(load_file(folder / OWN_FORM), model, form))
    config.plankwright = {
        key: form[key] for key in ("sizes", "low_rank", "packed") if key in form
    }  # few bits are many now
    put_linear_maps(model)
    return cast(PreTrainedModel, model.eval().to(device))


def build_model(anatomy: Anatomy, config: PretrainedConfig) -> PreTrainedModel:
    """A model of this config in the form that it tells, with weights still to come."""
    model = _stored_model(anatomy, config)
    put_linear_maps(model)
    return model


def _stored_model(anatomy: Anatomy, config: PretrainedConfig) -> PreTrainedModel:
    """The same as transformers makes it, whose weights have the shapes of the files."""
    model: PreTrainedModel = build(anatomy.model_class, config)
    form = _form(config)
    resize(model, form.get("sizes", {}))
    exchange(model, form.get("low_rank", {}))
    return model


def put_linear_maps(model: PreTrainedModel) -> None:
    """Put linear layers in the place of those that hold their weight transposed, so that all are alike to methods."""
    for path, module in list(model.named_modules()):
        if isinstance(module, Conv1D):
            linear = nn.Linear(module.nx, module.nf, dtype=module.weight.dtype)
            linear.weight = nn.Parameter(module.weight.detach().T.contiguous())
            linear.bias = nn.Parameter(module.bias.detach())
            model.set_submodule(path, linear)


def put_form(model: PreTrainedModel, **changed: Any) -> None:
    """Have the model stored in a form of our own: see `plankwright_model.py`."""
    model.config.plankwright = _form(model.config) | changed


def is_packed(model: PreTrainedModel) -> bool:
    """Whether the model is stored without its zeros."""
    return bool(_form(model.config).get("packed"))


def is_pruned(model: PreTrainedModel) -> bool:
    """Whether its zeros are to stay: a step before has put them there, or it was stored without them."""
    return is_packed(model) or bool(_form(model.config).get(PRUNED))


def settle_form(model: PreTrainedModel) -> None:
    """Make the config tell the form that the last steps left the model in: what is factorised, or has fewer heads."""
    ranks = {
        path: m.rank for path, m in model.named_modules() if isinstance(m, (LowRankLinear, LowRankEmbedding))
    }
    form = {"packed": False, **_form(model.config), "low_rank": ranks}
    form.pop("sizes", None)
    if sizes := anatomy_of(model).narrowed_attention(model):
        form["sizes"] = sizes
    vars(model.config).pop("plankwright", None)
    if any(form.values()):
        model.config.plankwright = form


def _form(config: PretrainedConfig) -> dict[str, Any]:
    return getattr(config, "plankwright", None) or {}


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Raises InputError where the tokenizer's files cannot be read, whatever the reader did with them."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the Rust reader panics with a BaseException on some hostile files
        message = f"the tokenizer cannot be read: {error}"
        raise InputError(Problem("tokenizer_unreadable", message, "tokenizer.json")) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        message = "the tokenizer has no fast form: save it with tokenizer.json"
        raise InputError(Problem("tokenizer_unreadable", message, "tokenizer.json"))
    return tokenizer


def save_checkpoint(
    model: PreTrainedModel, source: Source, changed_tokenizer: str | None, folder: Path
) -> None:
    """Write an ordinary checkpoint: the weights in the number format of the source, the source's tokenizer files.

    A model that is not in float32 any more keeps the format it has. `changed_tokenizer` is the content of a
    tokenizer.json that takes the place of the source's vocabulary. Weights in another form than the architecture's, and
    architectures of our own, are no transformers checkpoint: beside them lies the module that loads them.
    """
    folder.mkdir(parents=True)
    dtype = STORAGE_DTYPES[source.facts.dtype] if model.dtype is torch.float32 else model.dtype
    transposed = anatomy_of(model).stored_transposed(model)
    _form(model.config).pop(PRUNED, None)
    settle_form(model)
    form = _form(model.config)
    bits = form.get("bits", {})
    tensors = {
        name: (tensor.T if name in transposed else tensor)
        .detach()
        .to(tensor.dtype if name in bits else dtype)
        .contiguous()
        for name, tensor in model.state_dict().items()
        if name not in model.all_tied_weights_keys  # they are there by another name
    }
    if form:
        tensors = packed(tensors) if form["packed"] else tensors
        tensors = in_few_bits(tensors, bits, form["group_size"]) if bits else tensors
        save_file(tensors, folder / OWN_FORM)
    else:
        save_file(tensors, folder / SINGLE, metadata={"format": "pt"})
    if form or model.config.model_type in OWN:
        shutil.copyfile(plankwright_model.__file__, folder / "plankwright_model.py")
    model.config.architectures = [type(model).__name__]
    if anatomy_of(model).causal:
        model.config.use_cache = True
    model.config.save_pretrained(folder)
    _write_tokenizer(source, changed_tokenizer, folder)
    if model.config.model_type != source.facts.architecture:
        _name_tokenizer(source, folder)
    if source.facts.sentence is not None:
        write_sentence_files(source.folder, folder, model.config.hidden_size)
    _limit_lengths(source, folder)


def _limit_lengths(source: Source, folder: Path) -> None:
    """Where the model takes less than the source did, make its files cut texts to what it takes."""
    room = parse_config(json.loads((folder / "config.json").read_bytes())).max_length
    if room >= source.facts.max_length:
        return
    for name, key in (("tokenizer_config.json", "model_max_length"), (SETTINGS, "max_seq_length")):
        if (folder / name).exists():
            content = json.loads((folder / name).read_bytes())
            content[key] = min(content.get(key) or room, room)
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def with_tokenizer(source: Source, changed: str) -> Source:
    """The source with a tokenizer read from the very files that a result with it gets."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copyfile(source.folder / "config.json", folder / "config.json")
        _write_tokenizer(source, changed, folder)
        return replace(source, tokenizer=load_tokenizer(folder), changed_tokenizer=changed)


def _write_tokenizer(source: Source, changed: str | None, folder: Path) -> None:
    names = checkpoint_files(source.folder)
    for name in names:
        if name in TOKENIZER_FILES or (changed is None and name in VOCABULARY_FILES):
            shutil.copyfile(source.folder / name, folder / name)
    if changed is None:
        return
    (folder / "tokenizer.json").write_text(changed, "utf-8")
    if (settings := folder / "tokenizer_config.json").exists():
        content = json.loads(settings.read_bytes())
        content.pop("added_tokens_decoder", None)  # the old ids of what tokenizer.json lists by itself
        settings.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _name_tokenizer(source: Source, folder: Path) -> None:
    """Keep transformers from taking the tokenizer that usually goes with the model's new architecture."""
    if not (folder / "tokenizer.json").exists():
        load_tokenizer(source.folder).backend_tokenizer.save(str(folder / "tokenizer.json"))
    settings = folder / "tokenizer_config.json"
    content = json.loads(settings.read_bytes()) if settings.exists() else {}
    content.setdefault("tokenizer_class", type(source.tokenizer).__name__)
    settings.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
