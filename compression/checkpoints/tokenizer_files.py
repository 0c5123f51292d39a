"""The tokenizer files of a checkpoint: which there are, and how many token ids they use. Nothing of them is run."""

from pathlib import Path
from typing import Any

from compression.checkpoints.facts import Architecture
from compression.errors import InputError, Problem
from compression.strict_json import read_json_object

MAX_BYTES = 32_000_000
"""A tokenizer.json of 250,000 entries has 17 million."""
MAX_TOKEN_ID = 10_000_000
WORD_PIECE, BPE = ["vocab.txt"], ["vocab.json", "merges.txt"]
VOCABULARIES: dict[Architecture, list[str]] = {
    "bert": WORD_PIECE,
    "distilbert": WORD_PIECE,
    "electra": WORD_PIECE,
    "mpnet": WORD_PIECE,
    "roberta": BPE,
    "gpt2": BPE,
}
"""Files that do where there is no tokenizer.json; for other architectures there are none."""


def count_token_ids(folder: Path, architecture: Architecture) -> int:
    """One more than the highest id that the tokenizer can give.

    Raises:
        InputError: there is no tokenizer, or its files are not what they should be.
    """
    _refuse_code(folder / "tokenizer_config.json")
    if (folder / "tokenizer.json").is_file():
        path = folder / "tokenizer.json"
        return _count(list(ids_in_tokenizer_json(path).values()), path)
    return max(
        _count_in_vocabulary(folder, architecture), _count_in_added_tokens(folder / "added_tokens.json")
    )


def padding_id(folder: Path) -> int | None:
    """The id of the token that the tokenizer pads with, where its files tell one."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        settings = read_json_object(folder / name, MAX_BYTES) if (folder / name).is_file() else {}
        token = settings.get("pad_token")
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            return _id_of(token, folder)
    return None


def _id_of(token: str, folder: Path) -> int | None:
    if not (folder / "tokenizer.json").is_file():
        return read_json_object(folder / "vocab.json", MAX_BYTES).get(token)
    return ids_in_tokenizer_json(folder / "tokenizer.json").get(token)


def ids_in_tokenizer_json(path: Path) -> dict[str, int]:
    """The id of each piece and added token; of Unigram, the place of a piece is its id.

    Raises:
        InputError: the file is not what it should be.
    """
    content = read_json_object(path, MAX_BYTES)
    model, added = content.get("model"), content.get("added_tokens") or []
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list) and all(map(_is_unigram, vocabulary)):
        vocabulary = {entry[0]: number for number, entry in enumerate(vocabulary)}
    if not isinstance(vocabulary, dict) or not isinstance(added, list) or not all(map(_is_token, added)):
        raise _invalid("it holds no vocabulary of WordPiece, BPE or Unigram", path)
    ids = vocabulary | {token["content"]: token.get("id") for token in added}
    _count(list(ids.values()), path)
    return ids


def _is_unigram(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) > 0 and isinstance(entry[0], str)


def _is_token(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("content"), str)


def _refuse_code(path: Path) -> None:
    if path.is_file() and read_json_object(path, MAX_BYTES).get("auto_map"):
        message = "code that comes with a tokenizer is never run: remove auto_map"
        raise InputError(Problem("remote_code", message, f"{path.name}#/auto_map"))


def _count_in_vocabulary(folder: Path, architecture: Architecture) -> int:
    needed = VOCABULARIES.get(architecture, [])
    if not needed or not all((folder / name).is_file() for name in needed):
        others = f", or {' and '.join(needed)}," if needed else ""
        message = (
            f"there is no tokenizer: tokenizer.json{others} belongs to the checkpoint; save_pretrained of a tokenizer "
            "writes it"
        )
        raise InputError(Problem("missing_tokenizer", message, "tokenizer.json"))
    path = folder / needed[0]
    if needed == BPE:
        _read_text(folder / "merges.txt")
        return _count(list(read_json_object(path, MAX_BYTES).values()), path)
    # Not splitlines(): vocabularies hold tokens that Unicode counts as line ends.
    return len(_read_text(path).removesuffix("\n").split("\n"))


def _count_in_added_tokens(path: Path) -> int:
    return _count(list(read_json_object(path, MAX_BYTES).values()), path) if path.is_file() else 0


def _count(ids: list[Any], path: Path) -> int:
    if not all(type(token_id) is int and 0 <= token_id <= MAX_TOKEN_ID for token_id in ids):
        raise _invalid(f"a token id is not a whole number from 0 to {MAX_TOKEN_ID}", path)
    return max(ids, default=-1) + 1


def _read_text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise InputError(Problem("file_too_large", f"no more than {MAX_BYTES} bytes are read", path.name))
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid(f"it is not UTF-8 text: {error}", path) from error


def _invalid(message: str, path: Path) -> InputError:
    return InputError(Problem("invalid_tokenizer", message, path.name))
