"""Which layers each rule keeps, and what is refused."""

import pytest
from pydantic import ValidationError

from compression.errors import InputError
from compression.methods.layer_drop.params import LayerDropParams, Rule, kept_by_rule


@pytest.mark.parametrize(
    ("rule", "keep", "kept"),
    [
        ("top", 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("bottom", 8, [4, 5, 6, 7, 8, 9, 10, 11]),
        ("alternate", 8, [0, 1, 2, 3, 4, 6, 8, 10]),
        ("alternate", 6, [0, 2, 4, 6, 8, 10]),
        ("symmetric", 8, [0, 1, 2, 3, 8, 9, 10, 11]),
        ("symmetric", 7, [0, 1, 2, 3, 9, 10, 11]),
        ("growing", 4, [0, 3, 6, 11]),
        ("growing", 11, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11]),
    ],
)
def test_kept_layers_of_twelve(rule: Rule, keep: int, kept: list[int]) -> None:
    assert kept_by_rule(rule, 12, keep) == kept


def test_of_parts_that_are_fitted_the_first_layers_stay() -> None:
    assert kept_by_rule("growing", 6, 3, fitted=True) == [0, 1, 3]
    assert kept_by_rule("symmetric", 6, 3, fitted=True) == kept_by_rule("symmetric", 6, 3)


def test_half_stays_by_default() -> None:
    assert LayerDropParams().depth(12) == 6


@pytest.mark.parametrize(("strategy", "keep"), [("top", 12), ("best", 13), ("alternate", 5)])
def test_impossible_numbers_are_refused(strategy: str, keep: int) -> None:
    with pytest.raises(InputError):
        LayerDropParams.model_validate({"strategy": strategy, "keep_layers": keep}).depth(12)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"threshold": 0.9}, "leave it out, or choose that"),
        ({"distillation": {}, "recovery": None}, "leave it out, or ask for recovery"),
    ],
)
def test_settings_without_effect_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LayerDropParams.model_validate(settings)


def test_what_is_said_of_the_recovery_leaves_the_rest_gentle() -> None:
    recovery = LayerDropParams.model_validate({"keep_layers": 2, "recovery": {"epochs": 1}}).recovery
    assert recovery is not None
    assert (recovery.epochs, recovery.learning_rate, recovery.clip_norm) == (1, 5e-5, 1.0)
