"""The settings of Theseus: partitions, schedules, presets."""

import pytest
from pydantic import ValidationError

from compression.errors import InputError
from compression.methods.theseus.params import ConstantSchedule, LinearSchedule, TheseusParams


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


def test_two_different_depths_are_refused() -> None:
    with pytest.raises(ValidationError, match="leave one of the two out"):
        TheseusParams(modules=[2, 2, 2], successor_layers=2)


def test_linear_schedule_rises_from_its_base_to_one_and_stays() -> None:
    schedule = LinearSchedule(base_rate=0.3, full_at=0.5)
    assert [schedule.rate_at(f) for f in (0.0, 0.25, 0.5, 0.75, 1.0)] == pytest.approx(
        [0.3, 0.65, 1.0, 1.0, 1.0]
    )


def test_constant_schedule_has_the_two_phases_of_the_paper() -> None:
    schedule = ConstantSchedule(rate=0.5, full_at=0.6)
    assert [schedule.rate_at(f) for f in (0.0, 0.59, 0.6, 1.0)] == [0.5, 0.5, 1.0, 1.0]


def test_a_preset_fills_in_what_is_not_said() -> None:
    params = TheseusParams.model_validate({"preset": "paper", "training": {"epochs": 2}})
    assert params.initialization == "first_layers"
    assert params.training.learning_rate == 2e-5
    assert params.training.epochs == 2
    assert TheseusParams().initialization == "module_last"
