"""The content of a tokenizer.json with fewer word pieces: WordPiece, BPE and Unigram.

A text whose pieces all stay is encoded as before. WordPiece takes the longest piece at each place, Unigram the
likeliest split: taking other choices away changes neither. BPE applies its merges in order: every merge between pieces
that stay is kept, and with a piece all that it is merged of, so the same merges meet the same text.
"""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy.typing as npt

from compression.checkpoints.tokenizer_files import MAX_BYTES
from compression.strict_json import read_json_object

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
Json = dict[str, Any]


class Vocabulary:
    """The word pieces of a tokenizer and their ids; `len` is their number, those added later included."""

    def __init__(self, tokenizer: Json) -> None:
        self.tokenizer = tokenizer
        self.model: Json = tokenizer["model"]
        self.added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
        vocabulary = self.model["vocab"]
        if isinstance(vocabulary, list):  # Unigram: pieces with their log-probabilities, the id is the place
            vocabulary = {piece: number for number, (piece, _) in enumerate(vocabulary)}
        self.ids: dict[str, int] = vocabulary | self.added
        self.merges = [
            tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge)
            for merge in self.model.get("merges", [])
        ]
        self.prefix: str = self.model.get("continuing_subword_prefix") or ""
        self.suffix: str = self.model.get("end_of_word_suffix") or ""
        self.parts: dict[str, set[str]] = {}
        for left, right in self.merges:
            self.parts.setdefault(self._merged(left, right), set()).update((left, right))

    def __len__(self) -> int:
        return len(self.ids)

    def _merged(self, left: str, right: str) -> str:
        return left + right.removeprefix(self.prefix)

    def required(self, padding: int | None, *, all_before_padding: bool) -> set[str]:
        """What no tokenizer can do without: special and added tokens, and single characters to spell words with.

        A model may count positions from the id of its padding: all that is before it stays there.
        """
        tokens = {token for token in self.ids if len(self._bare(token)) <= 1 or BYTE.fullmatch(token)}
        around = _numbers(self.tokenizer.get("post_processor"))
        tokens |= set(self.added) | {token for token, number in self.ids.items() if number in around}
        unknown = self.model.get("unk_token")
        if isinstance(self.model.get("unk_id"), int):
            unknown = self.model["vocab"][self.model["unk_id"]][0]
        if padding is not None:
            first = 0 if all_before_padding else padding
            tokens |= {token for token, number in self.ids.items() if first <= number <= padding}
        return self._with_parts(tokens | {unknown} if unknown in self.ids else tokens)

    def choose(self, required: set[str], uses: npt.NDArray[Any], size: int) -> list[int]:
        """Ids of `size` tokens, ascending: the required ones, then by `uses` (by id), then in their own order."""
        kept = set(required)
        for token in sorted(self.ids, key=lambda token: (-uses[self.ids[token]], self.ids[token])):
            more = self._with_parts({token}) - kept
            if len(kept) + len(more) <= size:
                kept |= more
            if len(kept) == size:
                break
        return sorted(self.ids[token] for token in kept)

    def trimmed(self, kept: list[int]) -> Json:
        """The tokenizer with the tokens of these ids alone, numbered anew in the same order."""
        number = {old: new for new, old in enumerate(kept)}
        stays = {token: number[old] for token, old in self.ids.items() if old in number}
        tokenizer = deepcopy(self.tokenizer)
        tokenizer |= {"truncation": None, "padding": None}
        model: Json = tokenizer["model"]
        if isinstance(model["vocab"], list):
            model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in number]
            if model.get("unk_id") is not None:
                model["unk_id"] = number[model["unk_id"]]
        else:
            model["vocab"] = {token: stays[token] for token in model["vocab"] if token in stays}
        if "merges" in model:
            model["merges"] = [
                [left, right]
                for left, right in self.merges
                if {left, right, self._merged(left, right)} <= stays.keys()
            ]
        for token in tokenizer["added_tokens"]:
            token["id"] = number[token["id"]]
        _renumber(tokenizer.get("post_processor"), number)
        return tokenizer

    def _bare(self, token: str) -> str:
        """Without the marks of a word's start, middle or end."""
        return token.removeprefix(self.prefix).removesuffix(self.suffix).replace("\u2581", "")

    def _with_parts(self, tokens: set[str]) -> set[str]:
        closed: set[str] = set()
        open_tokens = set(tokens)
        while open_tokens:
            token = open_tokens.pop()
            closed.add(token)
            open_tokens |= self.parts.get(token, set()) - closed
        return closed & self.ids.keys()


def count_pieces(
    folder: Path, padding: int | None, *, all_before_padding: bool
) -> tuple[int, int] | tuple[None, None]:
    """How many pieces the tokenizer.json of a checkpoint has, and how many are required; unknown without the file.

    What else than pieces is in the file is nobody's business before a tokenizer is made of it: unknown as well, then.
    """
    if not (folder / "tokenizer.json").is_file():
        return None, None
    try:
        vocabulary = Vocabulary(read_json_object(folder / "tokenizer.json", MAX_BYTES))
        return len(vocabulary), len(vocabulary.required(padding, all_before_padding=all_before_padding))
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        return None, None


def _numbers(processor: Json | None) -> set[int]:
    """Token ids that a post-processor puts around a text."""
    if processor is None:
        return set()
    numbers = {processor[name][1] for name in ("cls", "sep") if name in processor}
    for special in processor.get("special_tokens", {}).values():
        numbers |= set(special["ids"])
    return numbers.union(*(_numbers(inner) for inner in processor.get("processors", [])))


def _renumber(processor: Json | None, number: dict[int, int]) -> None:
    if processor is None:
        return
    for name in ("cls", "sep"):
        if name in processor:
            processor[name][1] = number[processor[name][1]]
    for special in processor.get("special_tokens", {}).values():
        special["ids"] = [number[old] for old in special["ids"]]
    for inner in processor.get("processors", []):
        _renumber(inner, number)
