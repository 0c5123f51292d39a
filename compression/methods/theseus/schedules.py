"""Replacing rates: the probability that a module is replaced, as a function of the share of the steps that is done."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from compression.settings import Settings

Rate = Annotated[float, Field(gt=0, le=1)]


class _Schedule(Settings):
    full_at: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the steps after which every module is replaced (successor fine-tuning)."""
    stagger: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the steps by which the last module is ahead of the first, which is the hardest to replace (paper,
    section 5.1); the others lie between. Below `full_at`."""

    @model_validator(mode="after")
    def _stagger_fits(self) -> Self:
        if self.stagger and self.stagger >= self.full_at:
            raise ValueError(f"stagger {self.stagger} must be below full_at {self.full_at}")
        return self

    def rates_at(self, fraction: float, modules: int) -> list[float]:
        """The rate of each module, lowest first, after `fraction` of all steps."""
        ahead = [self.stagger * i / max(1, modules - 1) for i in range(modules)]
        return [self.rate_at(fraction, self.full_at - a) for a in ahead]

    def rate_at(self, fraction: float, full_at: float) -> float:
        """1 from `full_at` on, before it what `_rising` says."""
        return 1.0 if fraction >= full_at else self._rising(fraction / full_at)

    def _rising(self, share: float) -> float:
        """The rate after a share of the way to `full_at`, in [0, 1)."""
        raise NotImplementedError


class ConstantSchedule(_Schedule):
    """One rate for the first share of the steps, then 1: the paper's two phases (section 3.2)."""

    type: Literal["constant"] = "constant"
    rate: Rate = 0.5

    def _rising(self, share: float) -> float:
        return self.rate


class LinearSchedule(_Schedule):
    """The rate rises from `base_rate` to 1: the paper's curriculum, p = min(1, k t + b) (equation 6)."""

    type: Literal["linear"] = "linear"
    base_rate: Rate = 0.3

    def _rising(self, share: float) -> float:
        return self.base_rate + (1 - self.base_rate) * share


class CosineSchedule(_Schedule):
    """The rate rises from `base_rate` to 1 along half a cosine: slow at both ends."""

    type: Literal["cosine"] = "cosine"
    base_rate: Rate = 0.3

    def _rising(self, share: float) -> float:
        return self.base_rate + (1 - self.base_rate) * (1 - math.cos(math.pi * share)) / 2


class StepSchedule(_Schedule):
    """Rates that are held for equally long, one after the other, then 1."""

    type: Literal["step"] = "step"
    rates: Annotated[list[Rate], Field(min_length=1, max_length=100)] = [0.3, 0.5, 0.7]

    def _rising(self, share: float) -> float:
        return self.rates[int(share * len(self.rates))]


Schedule = Annotated[
    ConstantSchedule | LinearSchedule | CosineSchedule | StepSchedule, Field(discriminator="type")
]
