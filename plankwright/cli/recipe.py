"""From options to a recipe. What a method can be told is read off its JSON schema: there is no second list here."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

Schema = Mapping[str, Any]
SettingPath = tuple[str, ...]


HERE = {"model": "MODEL_DIR", "dataset": "--train and its like"}
"""Fields of a job that are arguments of the command."""


def read_recipe(file: Path) -> dict[str, Any]:
    """The fields of a job that a file gives.

    Raises:
        typer.BadParameter: the file is not JSON, or not what a recipe is.
    """
    try:
        recipe = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}") from None
    if not isinstance(recipe, dict):
        raise typer.BadParameter(f"{file} is not a JSON object with the fields of a job")
    for name, argument in HERE.items():
        if name in recipe:
            message = (
                f"{file} names a {name}, which is given by {argument} here: leave {name} out of the file"
            )
            raise typer.BadParameter(message)
    for name, kind, called in (("steps", list, "list"), ("constraints", dict, "object")):
        if not isinstance(recipe.get(name, kind()), kind):
            raise typer.BadParameter(f"{name} in {file} is not a JSON {called}: write one, or leave it out")
    return recipe


def build_step(
    schema: Schema, method: str, layers: int | None, epochs: float | None, settings: Sequence[str]
) -> dict[str, Any]:
    """One step of a recipe.

    Raises:
        typer.BadParameter: the method has no such setting.
    """
    step: dict[str, Any] = {"method": method}
    if layers is not None:
        _put(step, _only(schema, "--layers", lambda name: name.endswith("_layers")), layers)
    if epochs is not None:
        _put(step, _only(schema, "--epochs", lambda name: name == "epochs"), epochs)
    for setting in settings:
        name, value = assignment(setting)
        _put(step, tuple(name.split(".")), value)
    return step


def assignment(text: str) -> tuple[str, Any]:
    """`training.batch_size=16` as name and value; a value that is not JSON is a string."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def settings_of(schema: Schema) -> Iterator[tuple[SettingPath, Schema]]:
    """Every setting of a method, with its path and its part of the schema, nested ones included."""
    return _walk(schema, schema.get("$defs", {}), ())


def _walk(schema: Schema, definitions: Schema, path: SettingPath) -> Iterator[tuple[SettingPath, Schema]]:
    for group in alternatives(schema, definitions):
        for name, part in group.get("properties", {}).items():
            yield (*path, name), part
            yield from _walk(part, definitions, (*path, name))


def alternatives(schema: Schema, definitions: Schema) -> Iterator[Schema]:
    """The groups of settings that a setting may be."""
    if "$ref" in schema:
        yield definitions[schema["$ref"].rpartition("/")[2]]
    for kind in ("anyOf", "oneOf", "allOf"):
        for choice in schema.get(kind, ()):
            yield from alternatives(choice, definitions)
    if "properties" in schema:
        yield schema


def _only(schema: Schema, option: str, wanted: Callable[[str], bool]) -> SettingPath:
    """The one setting that an option can mean for this method."""
    found = {path for path, _ in settings_of(schema) if wanted(path[-1])}
    if len(found) != 1:
        known = ", ".join(".".join(path) for path in sorted(found)) or "no such setting"
        raise typer.BadParameter(f"{option} is not clear for this method ({known}): use --set NAME=VALUE")
    return found.pop()


def _put(step: dict[str, Any], path: SettingPath, value: Any) -> None:
    for name in path[:-1]:
        step = step.setdefault(name, {})
        if not isinstance(step, dict):
            raise typer.BadParameter(f"{name} is set as a whole and in parts")
    step[path[-1]] = value
