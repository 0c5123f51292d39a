"""The vectors of word pieces, positions and token types, as long as hidden states or shorter.

BERT computes LN(w + p + t) * g + b of vectors of the length H of its hidden states. ALBERT normalises vectors of length
E and maps them to hidden states afterwards (Lan et al. 2020, section 3.1).
"""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.data.encoding import Array, Encoded

LEAST = 1e-3
"""Of the mean frequency: pieces that the rows happen not to show must not vanish."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Tables (V, E), (P, E), (T, E), the norm of their sums, and the map (H, E) to hidden states."""

    words: torch.Tensor
    positions: torch.Tensor
    types: torch.Tensor
    norm: tuple[torch.Tensor, torch.Tensor]
    mapping: tuple[torch.Tensor, torch.Tensor]

    def state(self) -> dict[str, torch.Tensor]:
        """By the names of an ALBERT."""
        state = {
            f"albert.embeddings.{name}_embeddings.weight": table
            for name, table in (
                ("word", self.words),
                ("position", self.positions),
                ("token_type", self.types),
            )
        }
        for path, pair in (
            ("embeddings.LayerNorm", self.norm),
            ("encoder.embedding_hidden_mapping_in", self.mapping),
        ):
            state |= {f"albert.{path}.{kind}": t for kind, t in zip(("weight", "bias"), pair, strict=True)}
        return state


def whole(model: PreTrainedModel) -> Vectors:
    """The vectors as they are: the map changes nothing."""
    (words, positions, types), norm = _parts(model)
    width = words.shape[1]
    return Vectors(words, positions, types, norm, (torch.eye(width), torch.zeros(width)))


def shortened(model: PreTrainedModel, rows: Encoded, size: int) -> Vectors:
    """Vectors of length E, which keep what the rows' vectors vary in most.

    Let Q (H, E - 1) be the principal directions of the vectors without their means, weighted by how often the rows
    show them, and R (E - 1, E) have orthonormal rows of sum zero. Of the tables times sqrt(E / H) Q R the norm takes no
    mean, and divides by sqrt(|Q^T s|^2 / H), the deviation of BERT's own sum s as far as it lies in Q; so diag(g) Q R
    sqrt(H / E) maps its result to g * Q Q^T LN(s), and b is added. With E = H nothing would be lost.
    """
    tables, (gain, bias) = _parts(model)
    height = len(gain)
    centred = [table.double() - table.double().mean(dim=1, keepdim=True) for table in tables]
    second = sum(
        (table * weight[:, None]).T @ table
        for table, weight in zip(centred, _frequencies(tables, rows), strict=True)
    )
    assert isinstance(second, torch.Tensor)
    directions = torch.linalg.eigh(second).eigenvectors[:, -(size - 1) :]
    turned = directions @ _of_sum_zero(size).to(directions.device)
    scale = (size / height) ** 0.5
    words, positions, types = ((table @ turned * scale).float() for table in centred)
    mapping = (gain.double()[:, None] * turned / scale).float()
    norm = torch.ones(size, device=gain.device), torch.zeros(size, device=gain.device)
    return Vectors(words, positions, types, norm, (mapping, bias))


def _parts(
    model: PreTrainedModel,
) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """The tables of words, positions and types, and gain and bias of the norm."""
    own = anatomy_of(model)
    embeddings = model.get_submodule(own.embeddings)
    weights = {name: parameter.detach() for name, parameter in embeddings.named_parameters()}
    positions = weights["position_embeddings.weight"]
    if own.positions_after_padding:  # an ALBERT counts from 0
        positions = positions[model.config.pad_token_id + 1 :]
    tables = weights["word_embeddings.weight"], positions, weights["token_type_embeddings.weight"]
    return tables, (weights["LayerNorm.weight"], weights["LayerNorm.bias"])


def _frequencies(tables: tuple[torch.Tensor, ...], rows: Encoded) -> list[torch.Tensor]:
    """How often the rows show each vector of each table."""
    places = np.arange(len(rows.pieces)) - np.repeat(rows.offsets[:-1], rows.lengths)
    types = np.zeros_like(rows.pieces) if rows.segments is None else rows.segments
    ids: list[Array] = [rows.pieces, places, types]
    found = []
    for table, shown in zip(tables, ids, strict=True):
        counts = torch.from_numpy(np.bincount(shown, minlength=len(table))).double().to(table.device)
        found.append(counts.clamp(min=LEAST * float(counts.mean())))
    return found


def _of_sum_zero(size: int) -> torch.Tensor:
    """Helmert's matrix (E - 1, E): row k has k ones, then -k, over sqrt(k (k + 1))."""
    rows = torch.tril(torch.ones(size - 1, size, dtype=torch.float64))
    k = torch.arange(1, size, dtype=torch.float64)
    rows[torch.arange(size - 1), torch.arange(1, size)] = -k
    return rows / (k * (k + 1)).sqrt()[:, None]
