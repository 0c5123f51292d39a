"""Words exchanged for similar ones (Jiao et al. 2020, algorithm 1), by the embedding table alone."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.data.batches import Batch
from compression.data.encoding import Encoded
from compression.methods.tinybert.params import Augmentation

CHUNK = 1024
Flags = npt.NDArray[np.bool_]


class Augmenter:
    """Exchanges whole words of the training rows for their nearest neighbours among the words that occur there."""

    def __init__(self, model: PreTrainedModel, rows: Encoded, tokenizer: str, params: Augmentation) -> None:
        table = anatomy_of(model).word_embeddings_of(model).weight.detach()
        words, continues = _kinds_of_pieces(Tokenizer.from_str(tokenizer), len(table))
        used = np.unique(rows.pieces)
        exchangeable = torch.from_numpy(used[words[used]].astype(np.int64))
        self.neighbours = min(params.neighbours, len(exchangeable) - 1)
        self.share = params.share
        self.continues = torch.from_numpy(continues)
        self.place = torch.full((len(table),), -1)
        """Row of a word in `nearest`."""
        self.place[exchangeable] = torch.arange(len(exchangeable))
        if self.neighbours > 0:
            self.nearest = exchangeable[_nearest(table[exchangeable.to(table.device)], self.neighbours).cpu()]
            """(words, neighbours)."""

    def exchange(self, batch: Batch) -> Batch:
        """The batch with a share of its words exchanged, by the torch generator of the CPU.

        A word of several pieces stays: its pieces mean something together.
        """
        if self.neighbours < 1:
            return batch
        pieces = batch.input_ids.cpu()
        place = self.place[pieces]
        alone = torch.cat(
            [~self.continues[pieces[:, 1:]], torch.ones(len(pieces), 1, dtype=torch.bool)], dim=1
        )
        chosen = (torch.rand(pieces.shape) < self.share) & (place >= 0) & alone
        draws = torch.randint(self.neighbours, pieces.shape)
        exchanged = torch.where(chosen, self.nearest[place.clamp(min=0), draws], pieces)
        return replace(batch, input_ids=exchanged.to(batch.input_ids.device))


def _nearest(vectors: torch.Tensor, count: int) -> torch.Tensor:
    """For each of the vectors (W, H) the `count` others of the largest cosine (W, count)."""
    directions = functional.normalize(vectors, dim=-1)
    nearest = []
    for start in range(0, len(vectors), CHUNK):
        cosines = directions[start : start + CHUNK] @ directions.T
        cosines.diagonal(start).fill_(-1)  # itself; twins in another row are neighbours
        nearest.append(cosines.topk(count, dim=-1).indices)
    return torch.cat(nearest)


def _kinds_of_pieces(tokenizer: Tokenizer, size: int) -> tuple[Flags, Flags]:
    """For each piece of the vocabulary whether it is a word or the start of one, and whether it continues one.

    The `##` of WordPiece tells, or the `Ġ` or `▁` of others.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    special = set(tokenizer.get_added_tokens_decoder())
    word_piece = any(piece.startswith("##") for piece in vocabulary)
    words, continues = np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
    for piece, number in vocabulary.items():
        if number not in special:
            continues[number] = piece.startswith("##") if word_piece else not piece.startswith(("Ġ", "▁"))
            words[number] = not continues[number] and any(map(str.isalpha, piece.lstrip("Ġ▁")))
    return words, continues
