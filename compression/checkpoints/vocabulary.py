"""What a tokenizer calls its word pieces: two that agree on it give a model the same ids."""

import hashlib
import json
from pathlib import Path

from compression.checkpoints.tokenizer_files import MAX_BYTES, ids_in_tokenizer_json
from compression.strict_json import read_json_object


def vocabulary_digest(folder: Path) -> str:
    """SHA-256 of the pieces with their ids, whichever files hold them; for a folder whose tokenizer is sound."""
    if (folder / "tokenizer.json").is_file():
        ids = ids_in_tokenizer_json(folder / "tokenizer.json")
    else:
        ids = _ids_in_vocabulary(folder)
        if (folder / "added_tokens.json").is_file():
            ids |= read_json_object(folder / "added_tokens.json", MAX_BYTES)
    text = json.dumps(sorted((str(piece), number) for piece, number in ids.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _ids_in_vocabulary(folder: Path) -> dict[str, int]:
    if (folder / "vocab.json").is_file():
        return read_json_object(folder / "vocab.json", MAX_BYTES)
    lines = (folder / "vocab.txt").read_text("utf-8").removesuffix("\n").split("\n")
    return {line: number for number, line in enumerate(lines)}
