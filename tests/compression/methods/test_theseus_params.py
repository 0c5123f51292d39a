"""The settings of Theseus: partitions, schedules, presets."""

import pytest
from pydantic import ValidationError

from compression.errors import InputError
from compression.methods.layer_choice import LayerChoice, chosen_layers
from compression.methods.theseus.params import TheseusParams
from compression.methods.theseus.schedules import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    Schedule,
    StepSchedule,
)
from compression.training.params import Distillation


@pytest.mark.parametrize(
    ("layers", "successor", "sizes"),
    [(12, 6, [2] * 6), (12, 4, [3] * 4), (6, 3, [2, 2, 2]), (12, 5, [2, 2, 2, 3, 3]), (12, 7, [1, 1, 2, 2, 2, 2, 2]),
     (6, 5, [1, 1, 1, 1, 2]), (6, 1, [6]), (2, 1, [2])],
)  # fmt: skip
def test_modules_are_as_equal_as_possible_and_late_ones_longer(
    layers: int, successor: int, sizes: list[int]
) -> None:
    assert TheseusParams(successor_layers=successor).partition(layers) == sizes


def test_half_the_depth_is_the_default() -> None:
    assert TheseusParams().partition(12) == [2] * 6
    assert TheseusParams().partition(7) == [2, 2, 3]


def test_explicit_modules() -> None:
    assert TheseusParams(modules=[1, 2, 3]).partition(6) == [1, 2, 3]


@pytest.mark.parametrize(
    ("settings", "layers", "code", "place"),
    [
        ({"successor_layers": 6}, 6, "successor_too_deep", "/successor_layers"),
        ({"successor_layers": 12}, 6, "successor_too_deep", "/successor_layers"),
        ({}, 1, "successor_too_deep", "/successor_layers"),
        ({"modules": [1, 1, 1]}, 3, "successor_too_deep", "/modules"),
        ({"modules": [2, 2]}, 6, "modules_do_not_cover", "/modules"),
    ],
)
def test_what_cannot_be_replaced_is_refused(
    settings: dict[str, object], layers: int, code: str, place: str
) -> None:
    with pytest.raises(InputError) as refused:
        TheseusParams.model_validate(settings).partition(layers)
    assert [(p.code, p.place) for p in refused.value.problems] == [(code, place)]


@pytest.mark.parametrize(
    ("choice", "modules", "layers"),
    [
        ("first_layers", [2] * 6, [0, 1, 2, 3, 4, 5]),
        ("module_first", [1, 2, 3], [0, 1, 3]),
        ("module_last", [1, 2, 3], [0, 2, 5]),
        ("spread", [2] * 6, [0, 2, 4, 7, 9, 11]),
        ("spread", [6], [0]),
    ],
)
def test_layers_that_a_shallower_model_starts_from(
    choice: LayerChoice, modules: list[int], layers: list[int]
) -> None:
    assert chosen_layers(choice, modules) == layers


def test_two_different_depths_are_refused() -> None:
    with pytest.raises(ValidationError, match="leave one of the two out"):
        TheseusParams(modules=[2, 2, 2], successor_layers=2)


FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (LinearSchedule(base_rate=0.3, full_at=0.5), [0.3, 0.65, 1, 1, 1]),
        (ConstantSchedule(rate=0.5, full_at=0.6), [0.5, 0.5, 0.5, 1, 1]),
        (ConstantSchedule(rate=0.5, full_at=0), [1, 1, 1, 1, 1]),
        (CosineSchedule(base_rate=0.2, full_at=1), [0.2, 0.2 + 0.4 * (1 - 0.5**0.5), 0.6, 0.6 + 0.4 * 0.5**0.5, 1]),
        (StepSchedule(rates=[0.2, 0.6], full_at=0.75), [0.2, 0.2, 0.6, 1, 1]),
    ],
)  # fmt: skip
def test_schedules_reach_one_at_their_share_of_the_steps(schedule: Schedule, rates: list[float]) -> None:
    assert [schedule.rates_at(f, 1)[0] for f in FRACTIONS] == pytest.approx(rates)
    assert [schedule.rates_at(f, 3)[2] for f in FRACTIONS] == pytest.approx(rates)


def test_late_modules_are_ahead_by_the_stagger() -> None:
    schedule = LinearSchedule(base_rate=0.2, full_at=0.6, stagger=0.4)
    assert schedule.rates_at(0.0, 3) == pytest.approx([0.2, 0.2, 0.2])
    assert schedule.rates_at(0.2, 3) == pytest.approx([0.2 + 0.8 / 3, 0.6, 1])
    assert schedule.rates_at(0.5, 3) == pytest.approx([0.2 + 0.8 * 5 / 6, 1, 1])
    assert schedule.rates_at(0.6, 3) == [1, 1, 1]


def test_a_stagger_as_long_as_the_whole_rise_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be below full_at"):
        LinearSchedule(full_at=0.4, stagger=0.4)


def test_a_preset_fills_in_what_is_not_said() -> None:
    params = TheseusParams.model_validate({"preset": "paper", "training": {"epochs": 2}})
    assert params.initialization == "first_layers"
    assert params.training.learning_rate == 2e-5
    assert params.training.epochs == 2
    assert params.training.precision == "float32"
    assert TheseusParams().initialization == "module_last"


@pytest.mark.parametrize(
    ("layers", "successor", "sizes"),
    [
        (6, 3, [1, 2, 3]),
        (12, 6, [1, 1, 1, 3, 3, 3]),
        (12, 3, [2, 4, 6]),
        (4, 2, [1, 3]),
        (4, 3, [1, 1, 2]),
        (3, 1, [3]),
    ],
)
def test_modules_may_grow_with_the_depth(layers: int, successor: int, sizes: list[int]) -> None:
    params = TheseusParams(modules="growing", successor_layers=successor)
    assert params.partition(layers) == sizes


def test_a_preset_fills_in_what_is_not_said_of_its_parts() -> None:
    params = TheseusParams.model_validate(
        {"preset": "distilled", "training": {"epochs": 2}, "distillation": {"temperature": 3}}
    )
    assert (params.training.epochs, params.training.learning_rate) == (2, 2e-4)
    assert params.distillation == Distillation(weight=0.5, temperature=3)
    assert params.head == "trained"
