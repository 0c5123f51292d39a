"""Dropout that costs a tenth: on a CPU, torch draws each element of a mask one by one from a Mersenne twister.

Eight random bits decide over an element here, so a probability is met to within 1/512; what is kept is scaled by the
exact inverse of the share that is kept, so that the expected value stays (Srivastava et al. 2014, section 4).
"""

from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

ATTENTION = "plankwright"
LOWEST = -(2**63)
LANES = {2: torch.int16, 4: torch.int32}
"""The integers as wide as a number of so many bytes."""
POOL = 2**22
"""Elements drawn in advance; a mask of up to half as many is a window of them at a random place."""


def drop(values: torch.Tensor, probability: float) -> torch.Tensor:
    """`values` with each element zero at about this probability, by the torch generator of the CPU."""
    kept = keep_mask(values, probability)
    return values if kept is None else values * kept


def keep_mask(like: torch.Tensor, probability: float) -> torch.Tensor | None:
    """What to multiply with: 0 at about this probability, else what keeps the mean; None where nothing is dropped."""
    dropped = round(probability * 256)
    if dropped == 0:
        return None
    count = like.numel()
    if count > POOL // 2:
        return _draw(count, dropped, like.dtype, None).view(like.shape)
    start = int(torch.randint(POOL - count, ()))
    return _pool(dropped, like.dtype)[start : start + count].view(like.shape)


@cache
def _pool(dropped: int, dtype: torch.dtype) -> torch.Tensor:
    return _draw(POOL, dropped, dtype, torch.Generator().manual_seed(0))


def _draw(count: int, dropped: int, dtype: torch.dtype, generator: torch.Generator | None) -> torch.Tensor:
    """Zero for `dropped` of 256 elements.

    The mask is made by integer arithmetic on the bits of the numbers: torch's comparisons, and its casts from bool,
    take one element at a time and cost ten times as much.
    """
    lane = LANES[dtype.itemsize]
    words = torch.empty(-(-count // 8), dtype=torch.int64).random_(LOWEST, None, generator=generator)
    draws = words.view(torch.int8)[:count].to(lane)  # -128 to 127
    kept = draws.neg_().add_(dropped - 129).bitwise_right_shift_(8 * dtype.itemsize - 1)  # -1 or 0
    scale = torch.tensor(256 / (256 - dropped), dtype=dtype).view(lane)
    return kept.bitwise_and_(scale).view(dtype)


class ByteDropout(nn.Dropout):
    """nn.Dropout by `drop`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return drop(input, self.p) if self.training else input


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """softmax(Q K^T * scaling + mask) V of (B, heads, L, d); states (B, L, heads, d) and weights (B, heads, L, L).

    The fused kernels of a CPU are several times slower than this backwards in bfloat16, and have no dropout.
    """
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = drop(scores.softmax(dim=-1), dropout)
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, eager_mask)


def speed_up_training_on_cpu(model: PreTrainedModel) -> None:
    """Exchange dropout and attention of a model that is about to be trained on a CPU."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, ByteDropout(child.p).train(child.training))
    if model._supports_attention_backend:
        model.set_attn_implementation(ATTENTION)
