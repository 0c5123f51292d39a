from pathlib import Path
from typing import Any

import pytest
import typer

from compression.registry import METHODS
from plankwright.cli.recipe import assignment, build_step, read_recipe, settings_of

THESEUS, LAYER_DROP = (METHODS[name].model_json_schema() for name in ("theseus", "layer_drop"))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("theseus", {"successor_layers": 3, "training": {"epochs": 2}}),
        ("layer_drop", {"keep_layers": 3, "recovery": {"epochs": 2}}),
    ],
)
def test_layers_and_epochs_mean_what_the_method_calls_so(method: str, expected: dict[str, Any]) -> None:
    step = build_step(METHODS[method].model_json_schema(), method, 3, 2, [])
    assert step == {"method": method, **expected}
    METHODS[method].model_validate(step)


def has_layers(method: str) -> bool:
    return any(path[-1].endswith("_layers") for path, _ in settings_of(METHODS[method].model_json_schema()))


@pytest.mark.parametrize("method", [method for method in METHODS if has_layers(method)])
def test_every_method_of_layers_can_be_told_how_many_and_epochs(method: str) -> None:
    METHODS[method].model_validate(build_step(METHODS[method].model_json_schema(), method, 1, 1, []))


def test_settings_go_as_deep_as_they_are_named() -> None:
    settings = ["schedule.type=constant", "schedule.rate=0.7", "training.batch_size=16", "modules=[1,2,3]"]
    step = build_step(THESEUS, "theseus", None, 1.5, [*settings, "distillation=null"])
    assert step == {
        "method": "theseus",
        "training": {"epochs": 1.5, "batch_size": 16},
        "schedule": {"type": "constant", "rate": 0.7},
        "modules": [1, 2, 3],
        "distillation": None,
    }
    METHODS["theseus"].model_validate(step)


def test_settings_of_a_method_include_those_of_all_alternatives() -> None:
    names = {".".join(path) for path, _ in settings_of(THESEUS)}
    assert {"successor_layers", "schedule.rate", "schedule.base_rate", "training.clip_norm"} <= names
    assert "recovery.learning_rate" in {".".join(path) for path, _ in settings_of(LAYER_DROP)}


@pytest.mark.parametrize(
    ("text", "value"), [("a=1", 1), ("a=x", "x"), ("a=", ""), ('a="1"', "1"), ("a=b=c", "b=c")]
)
def test_a_value_is_json_or_else_text(text: str, value: object) -> None:
    assert assignment(text) == ("a", value)


@pytest.mark.parametrize("settings", [["epochs"], ["=3"], ["training=1", "training.epochs=2"]])
def test_what_cannot_be_set_is_a_usage_error(settings: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        build_step(THESEUS, "theseus", None, None, settings)


def test_a_shortcut_that_a_method_does_not_have_says_what_to_do() -> None:
    with pytest.raises(typer.BadParameter, match="--set"):
        build_step({"properties": {"scheme": {"type": "string"}}}, "quantize", 3, None, [])


@pytest.mark.parametrize("content", ["{", "[]", "3"])
def test_a_recipe_file_holds_an_object(tmp_path: Path, content: str) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(content)
    with pytest.raises(typer.BadParameter):
        read_recipe(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"steps": [], "model": "mdl_1"}', "given by MODEL_DIR here: leave model out of the file"),
        ('{"steps": [], "dataset": "dst_1"}', "given by --train and its like here: leave dataset out"),
        ('{"steps": null}', "steps in .* is not a JSON list"),
        ('{"constraints": null}', "constraints in .* is not a JSON object"),
    ],
)
def test_what_a_recipe_file_cannot_say_is_refused_with_the_cure(
    tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(content)
    with pytest.raises(typer.BadParameter, match=said):
        read_recipe(file)
