"""How much a model reads of a split, as far as the words of its rows tell."""

from collections.abc import Iterable
from dataclasses import dataclass

from compression.data.summary import Split

PIECES_PER_WORD = 1.3
SPECIAL_PIECES = 2


@dataclass(frozen=True, slots=True)
class Reading:
    """What becomes of the rows of a split: means, guessed before anything is encoded."""

    sequences: int
    """Rows as a model reads them: several where one is cut into windows, or read once for each word that it hides."""
    pieces: float
    """Word pieces of each."""
    answers: float = 0.0
    """Places of each that are answered by a probability of every word piece that there is."""

    @property
    def total(self) -> float:
        return self.sequences * self.pieces


def pieces_in(split: Split, names: Iterable[str]) -> float:
    """Word pieces of a row in these columns together, special ones not among them."""
    columns = [split.column(name) for name in names]
    return PIECES_PER_WORD * sum(column.lengths.mean for column in columns if column)
