"""Word pieces that are hidden from a model that learns to guess them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Masking:
    """Of the pieces that may be hidden a share is, most behind the mask, some behind another piece, some not at all.

    Devlin et al. 2019, section 3.1; anew at every step, as in Liu et al. 2019, section 4.1.
    """

    share: float
    masked: float
    """Of the hidden ones, those in whose place the mask stands."""
    exchanged: float
    """And those in whose place a piece stands that is drawn from all `ordinary` ones."""
    mask_piece: int
    ordinary: Array
    """Pieces that are not special."""

    def hide(
        self, pieces: Array, may_be: Array, lengths: Array, rows: Array, draw: Sequence[int]
    ) -> tuple[Array, Array]:
        """The pieces (P,) of some rows, one row after another, as a model sees them, and which it has to guess (P,).

        What is hidden of a row is a function of `draw` and the number of the row: it does not matter which others are
        in a batch. Where a row has any piece that may be hidden, one is.
        """
        seen, hidden = pieces.copy(), np.zeros(len(pieces), dtype=np.bool_)
        start = 0
        for row, length in zip(rows.tolist(), lengths.tolist(), strict=True):
            places = start + np.flatnonzero(may_be[start : start + length])
            start += length
            if not len(places):
                continue
            random = np.random.default_rng([*draw, row])
            chance = random.random(len(places))
            chosen = places[(chance < self.share) | (chance == chance.min())]
            fate, others = random.random(len(chosen)), random.choice(self.ordinary, len(chosen))
            hidden[chosen] = True
            seen[chosen[fate < self.masked]] = self.mask_piece
            exchanged = (fate >= self.masked) & (fate < self.masked + self.exchanged)
            seen[chosen[exchanged]] = others[exchanged]
        return seen, hidden
