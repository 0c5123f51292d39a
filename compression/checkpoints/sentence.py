"""The files by which the package sentence-transformers makes an encoder of sentences out of a plain encoder.

`modules.json` lists a Transformer, a Pooling and maybe a Normalize; anything else is refused. Two generations of the
package write them differently.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compression.errors import InputError, Problem
from compression.strict_json import read_json_array, read_json_object

MODULES = "modules.json"
POOLING = "1_Pooling/config.json"
SETTINGS = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"
MODULE_CONFIGS = (POOLING, "2_Normalize/config.json")
SENTENCE_FILES = (MODULES, POOLING, SETTINGS, PROMPTS)
MAX_BYTES = 1_000_000

Pooling = Literal["mean", "cls", "max"]
_MODES: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}
_MODULE = re.compile(r"sentence_transformers\.(?:[a-z_]+\.)*(Transformer|Pooling|Normalize)")
_WIDTHS = ("word_embedding_dimension", "embedding_dimension")


class SentenceHead(BaseModel):
    """What makes one vector of a text out of the states of its word pieces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pooling: Pooling
    """Their mean, the first of them, or the largest value of each channel."""
    normalize: bool
    """Whether the vector is brought to length 1."""
    max_length: int | None = None
    """Word pieces of a text, where the files say so."""


class _Settings(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    max_seq_length: Annotated[int, Field(ge=4, le=65_536)] | None = None
    do_lower_case: Literal[False] = False
    """The tokenizer may do so; the package itself does it for some."""


def read_sentence_head(folder: Path, width: int) -> SentenceHead:
    """Judge the files.

    Raises:
        InputError: they are not there, or ask for something that is not supported.
    """
    if not (folder / MODULES).is_file():
        message = (
            "the model has no head: fine-tune it for a task, or send the folder that sentence-transformers saves, "
            f"with {MODULES} and {POOLING}"
        )
        raise InputError(Problem("no_task_head", message, "config.json#/architectures"))
    modules = _modules(folder)
    if _content(folder / PROMPTS).get("default_prompt_name"):
        message = "texts with a prompt before them are not supported: set default_prompt_name to null"
        raise InputError(Problem("unsupported_config", message, f"{PROMPTS}#/default_prompt_name"))
    return SentenceHead(
        pooling=_pooling(folder, width), normalize=len(modules) == 3, max_length=_max_length(folder)
    )


def write_sentence_files(source: Path, target: Path, width: int) -> None:
    """The same files for a model whose states have `width` channels."""
    for name in SENTENCE_FILES:
        if not (source / name).is_file():
            continue
        (target / name).parent.mkdir(exist_ok=True)
        content = json.loads((source / name).read_bytes())
        if name == POOLING:
            content |= {key: width for key in _WIDTHS if key in content}
        (target / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _modules(folder: Path) -> list[str]:
    """The kinds of the modules: Transformer, Pooling, and maybe Normalize."""

    def refusal(message: str, place: str) -> InputError:
        return InputError(Problem("unsupported_modules", message, f"{MODULES}#/{place}"))

    kinds = []
    for index, entry in enumerate(read_json_array(folder / MODULES, MAX_BYTES)):
        kind = _MODULE.fullmatch(str(entry.get("type"))) if isinstance(entry, dict) else None
        if kind is None:
            message = "only Transformer, Pooling and Normalize of sentence_transformers are supported"
            raise refusal(message, str(index))
        kinds.append(kind[1])
        path = {"Transformer": "", "Pooling": POOLING.split("/")[0]}.get(kind[1])
        if path is not None and entry.get("path") != path:
            raise refusal(f"the {kind[1]} must lie in {path or 'the top folder'!r}", f"{index}/path")
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise refusal(
            "the modules must be a Transformer, a Pooling and at most a Normalize, in this order", ""
        )
    return kinds


def _pooling(folder: Path, width: int) -> Pooling:
    if not (folder / POOLING).is_file():
        raise InputError(Problem("missing_file", f"{MODULES} names it, but it is not there", POOLING))
    content = read_json_object(folder / POOLING, MAX_BYTES)
    if any(content.get(key, width) != width for key in _WIDTHS):
        message = f"by config.json the states have {width} channels"
        raise InputError(Problem("inconsistent_config", message, f"{POOLING}#/{_WIDTHS[0]}"))
    asked = [key for key, value in content.items() if key.startswith("pooling_mode_") and value]
    modes: list[Any] = [_MODES.get(key, key) for key in asked] or [content.get("pooling_mode", "mean")]
    if len(modes) == 1 and modes[0] in _MODES.values():
        mode: Pooling = modes[0]
        return mode
    message = f"one of the poolings {', '.join(_MODES.values())} is supported, not {str(modes)[:100]}"
    raise InputError(Problem("unsupported_pooling", message, f"{POOLING}#/pooling_mode"))


def _max_length(folder: Path) -> int | None:
    """As the package's own file has it, or by its newer versions the tokenizer's."""
    try:
        settings = _Settings.model_validate(_content(folder / SETTINGS))
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = f"{SETTINGS}#/{detail['loc'][0]}"
        raise InputError(Problem("unsupported_config", str(detail["msg"]), place)) from error
    most = settings.max_seq_length or _content(folder / "tokenizer_config.json").get("model_max_length")
    return most if type(most) is int and 4 <= most <= 65_536 else None


def _content(path: Path) -> dict[str, Any]:
    return read_json_object(path, MAX_BYTES) if path.is_file() else {}
