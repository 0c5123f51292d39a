"""Words exchanged for similar ones (Jiao et al. 2020, algorithm 1): by the embedding table, or by a masked language
model."""

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.loading import load_model, open_source
from compression.context import Context, TaskData
from compression.data.batches import Batch
from compression.data.encoding import Encoded
from compression.errors import InputError
from compression.methods.tinybert.params import Augmentation, LanguageModel
from compression.tasks.fill_mask.behaviour import mask_piece
from compression.tasks.pieces import logits_at

CHUNK = 1024
"""Rows of the table, or word pieces of a batch, at a time."""
Flags = npt.NDArray[np.bool_]


class Augmenter(ABC):
    """Exchanges words of one piece; a word of several pieces stays: they mean something together."""

    def __init__(self, share: float, words: torch.Tensor, continues: Flags) -> None:
        self.share = share
        self.words = words
        """Whether a piece may be exchanged (V,)."""
        self._continues = torch.from_numpy(continues)

    def exchange(self, batch: Batch) -> Batch:
        """The batch with a share of its words exchanged, by the torch generator of the CPU."""
        pieces = batch.input_ids.cpu().clone()
        alone = torch.cat(
            [~self._continues[pieces[:, 1:]], torch.ones(len(pieces), 1, dtype=torch.bool)], dim=1
        )
        chosen = (torch.rand(pieces.shape) < self.share) & self.words[pieces] & alone
        if not chosen.any():
            return batch
        pieces[chosen] = self._others(batch, pieces, chosen)
        return replace(batch, input_ids=pieces.to(batch.input_ids.device))

    @abstractmethod
    def _others(self, batch: Batch, pieces: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """What comes to the chosen places (B, L) of the pieces (B, L) of a batch, in their order (K,)."""


class NearestWords(Augmenter):
    """Others are drawn from the nearest neighbours among the words that occur in the training rows."""

    def __init__(self, model: PreTrainedModel, rows: Encoded, tokenizer: str, params: Augmentation) -> None:
        table = anatomy_of(model).word_embeddings_of(model).weight.detach()
        words, continues = _kinds_of_pieces(Tokenizer.from_str(tokenizer), len(table))
        used = np.unique(rows.pieces)
        exchangeable = torch.from_numpy(used[words[used]].astype(np.int64))
        self.neighbours = min(params.neighbours, len(exchangeable) - 1)
        self.place = torch.full((len(table),), -1)
        """Row of a word in `nearest`."""
        if self.neighbours > 0:
            self.place[exchangeable] = torch.arange(len(exchangeable))
            self.nearest = exchangeable[_nearest(table[exchangeable.to(table.device)], self.neighbours).cpu()]
            """(words, neighbours)."""
        super().__init__(params.share, self.place >= 0, continues)

    def _others(self, batch: Batch, pieces: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        draws = torch.randint(self.neighbours, (int(chosen.sum()),))
        return self.nearest[self.place[pieces[chosen]], draws]


class GuessedWords(Augmenter):
    """Others are drawn from the words that a masked language model finds likeliest in the place of those exchanged."""

    def __init__(self, name: str, tokenizer: str, params: Augmentation, context: Context) -> None:
        """Load the model of that name.

        Raises:
            InputError: it is no sound checkpoint, or reads other word pieces than the job's model.
        """
        source = open_source(context.models[name])
        if problems := list(LanguageModel(name).misfits(source.facts, context.source.facts)):
            raise InputError(problems)
        self.model = load_model(source.folder, source.facts, context.device, context.dtype)
        self.mask = mask_piece(source.tokenizer)
        self.tells_texts_apart = (source.facts.token_types or 0) > 1
        words, continues = _kinds_of_pieces(Tokenizer.from_str(tokenizer), source.facts.vocabulary_size)
        self.neighbours = min(params.neighbours, int(words.sum()) - 1)
        self._no_word = torch.from_numpy(~words).to(context.device)
        super().__init__(params.share, torch.from_numpy(words & (self.neighbours > 0)), continues)

    @torch.no_grad()
    def _others(self, batch: Batch, pieces: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        device = batch.input_ids.device
        masked = replace(batch, input_ids=pieces.masked_fill(chosen, self.mask).to(device))
        if not self.tells_texts_apart:
            masked = replace(masked, token_type_ids=None)
        rows = max(1, CHUNK // pieces.shape[1])
        likeliest = [
            self._likeliest({key: value[at : at + rows] for key, value in masked.inputs.items()}, *parts)
            for at, *parts in zip(
                range(0, len(pieces), rows), pieces.split(rows), chosen.split(rows), strict=True
            )
        ]
        draws = torch.randint(self.neighbours, (int(chosen.sum()), 1))
        return torch.cat(likeliest).gather(1, draws).squeeze(1)

    def _likeliest(
        self, inputs: dict[str, torch.Tensor], pieces: torch.Tensor, chosen: torch.Tensor
    ) -> torch.Tensor:
        """For each chosen place the words (K, neighbours) that are likeliest there, but for the one that it had."""
        logits = logits_at(self.model, inputs, chosen.to(self.model.device))
        logits = logits.masked_fill(self._no_word, -torch.inf)
        logits = logits.scatter(1, pieces[chosen].to(logits.device)[:, None], -torch.inf)
        return logits.topk(self.neighbours, dim=-1).indices.cpu()


def augmenter_for(
    params: Augmentation, teacher: PreTrainedModel, data: TaskData, context: Context
) -> Augmenter:
    """What exchanges words as the params say."""
    if params.model is None:
        return NearestWords(teacher, data.train, context.tokenizer_json(), params)
    return GuessedWords(params.model, context.tokenizer_json(), params, context)


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
