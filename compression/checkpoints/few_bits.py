"""Numbers of few bits, a scale for each group of them: how they are rounded. How they lie: `plankwright_model.py`.

The levels of b bits are s (k - (2^b - 1) / 2), as many below zero as above: there is no zero among them, of which two
bits would have one level less on a side.
"""

import torch

from compression.checkpoints.plankwright_model import is_sparse, pack_codes

CLIPPED = {2: 0.5, 3: 0.7, 4: 0.9, 8: 1.0}
"""Where the range of a group ends, as a share of its largest number: what is beyond is taken for the end."""
LARGEST_SCALE = 65504.0
"""Of float16."""


def rounded(values: torch.Tensor, bits: int, group_size: int) -> torch.Tensor:
    """What few bits leave of numbers (..., n), of which every `group_size` in a row have a scale."""
    parts = []
    for groups in _in_groups(values, group_size):
        scales = _scales(groups, bits)
        parts.append((_units(groups, scales, bits) * scales).flatten(-2))
    return torch.cat(parts, dim=-1)


def rounded_as_stored(values: torch.Tensor, bits: int, group_size: int, *, packed: bool) -> torch.Tensor:
    """The same of a float32 tensor of a model that may be `packed`: where zeros are not stored, of the others."""
    if not (packed and is_sparse(values)):
        return rounded(values, bits, group_size)
    kept, whole = values != 0, torch.zeros_like(values)
    whole[kept] = rounded(values[kept], bits, group_size)
    return whole


def encode(values: torch.Tensor, bits: int, group_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The codes (..., n) of numbers, and the scales (..., ceil(n / group size)) of their groups in float16."""
    codes, scales = [], []
    for groups in _in_groups(values, group_size):
        scales.append(_scales(groups, bits))
        codes.append((_units(groups, scales[-1], bits) + (2**bits - 1) / 2).to(torch.uint8).flatten(-2))
    return torch.cat(codes, dim=-1), torch.cat(scales, dim=-2).squeeze(-1).half()


def in_few_bits(
    tensors: dict[str, torch.Tensor], bits: dict[str, int], group_size: int
) -> dict[str, torch.Tensor]:
    """Tensors as they are stored, those with a number of bits in codes; of those with a mask, the values."""
    stored = dict(tensors)
    for name, number in bits.items():
        values = stored.pop(name if name in stored else f"{name}.values")
        codes, scales = encode(values.float(), number, group_size)
        stored[f"{name}.codes"] = pack_codes(codes, number)
        stored[f"{name}.scales"] = scales
    return stored


def _in_groups(values: torch.Tensor, size: int) -> list[torch.Tensor]:
    """The groups (..., G, size) of numbers (..., n), and one of those that are left."""
    count, left = divmod(values.shape[-1], size)
    whole, rest = values.split([count * size, left], dim=-1)
    parts = [whole.unflatten(-1, (count, size)), rest.unsqueeze(-2)]
    return [part for part in parts if part.numel()] or parts[:1]


def _scales(groups: torch.Tensor, bits: int) -> torch.Tensor:
    """The scale (..., G, 1) of each group: the best for the levels that its numbers have in the clipped range.

    Of codes u that are given, s = <w, u> / <u, u> leaves the least squared error.
    """
    clipped = CLIPPED[bits] * groups.abs().amax(dim=-1, keepdim=True)
    units = _units(groups, clipped / ((2**bits - 1) / 2), bits)
    scales = (groups * units).sum(dim=-1, keepdim=True) / units.square().sum(dim=-1, keepdim=True)
    return scales.clamp(max=LARGEST_SCALE).half().float()


def _units(groups: torch.Tensor, scales: torch.Tensor, bits: int) -> torch.Tensor:
    """The levels nearest to numbers, in units of their scale: halves from -(2^b - 1) / 2 to (2^b - 1) / 2."""
    highest = (2**bits - 1) / 2
    steps = groups / torch.where(scales > 0, scales, 1.0)
    return ((steps - 0.5).round() + 0.5).clamp(-highest, highest)
