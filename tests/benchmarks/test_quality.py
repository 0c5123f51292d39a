import pytest

from benchmarks.quality import FIELDS, SETTINGS, Budget, recipe_step
from compression.methods.layer_drop.params import LayerDropParams
from compression.registry import METHODS


@pytest.mark.parametrize("method", FIELDS)
@pytest.mark.parametrize("budget", Budget)
def test_methods_get_the_same_budget_and_keep_their_own_defaults(method: str, budget: Budget) -> None:
    setting = SETTINGS[budget]
    params = METHODS[method].model_validate(recipe_step(method, setting, 200, {}))
    trained, usual = params.trains, METHODS[method]().trains
    assert trained is not None
    assert usual is not None
    assert trained.steps(3200) == (setting.steps or 200)
    assert trained.learning_rate == usual.learning_rate
    assert getattr(params, FIELDS[method][0]) == setting.layers


def test_given_settings_stand_beside_the_budget() -> None:
    given = {"strategy": "bottom", "recovery": {"learning_rate": 3e-4}}
    params = LayerDropParams.model_validate(recipe_step("layer_drop", SETTINGS[Budget.SMALL], 1000, given))
    assert params.strategy == "bottom"
    assert params.recovery is not None
    assert params.recovery.learning_rate == 3e-4
    assert params.recovery.max_steps == 250
