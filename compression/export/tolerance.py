"""How far numbers of one model may lie apart that were computed in two ways."""

import numpy as np

from compression.data.encoding import Array

LEAST = 1e-3
SHARE = 1e-4


def tolerance(expected: Array) -> float:
    """The largest difference that the order of additions, or another processor's rounding, explains.

    That of logits; where numbers are larger, as scores may be, a share of the largest.
    """
    return max(LEAST, SHARE * float(np.abs(expected).max(initial=0)))
