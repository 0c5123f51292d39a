"""One method and its settings, as its JSON schema has them."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from plankwright.cli.output import print_facts, print_table, say
from plankwright.cli.recipe import Schema, SettingPath, alternatives, settings_of

if TYPE_CHECKING:
    from plankwright.resources import Method


def print_method(method: "Method") -> None:
    say(f"{method.name}: {method.summary}")
    facts = {
        "paper": method.paper,
        "tasks": ", ".join(method.tasks),
        "architectures": ", ".join(method.architectures),
    }
    presets = {f"preset {name}": json.dumps(values) for name, values in method.presets.items() if values}
    if method.recommended_preset is not None:
        presets["recommended preset"] = method.recommended_preset
    print_facts(facts | presets)
    print_table(("--set", "kind", "default", ""), list(_rows(method)))


def _rows(method: "Method") -> Iterator[tuple[str, str, str, str]]:
    """One row for each setting; where it differs between alternatives, with all of them.

    Of a group the parts have rows, and the group itself where it is off by default, which those do not show.
    """
    parts: dict[SettingPath, list[Schema]] = {}
    for path, part in settings_of(method.json_schema):
        parts.setdefault(path, []).append(part)
    groups = {path[:-1] for path in parts}
    definitions = method.json_schema.get("$defs", {})
    for path, found in parts.items():
        default = _default(path, method.defaults, found[0])
        if path in groups:
            if default is None:
                about = next(alternatives(found[0], definitions)).get("description", "")
                yield ".".join(path), "object", "off", found[0].get("description", about)
        elif path != ("method",):
            kinds = dict.fromkeys(map(_kind, found))
            shown = "" if default is None else str(default)
            yield ".".join(path), " | ".join(kinds), shown, found[0].get("description", "")


def _kind(part: Schema) -> str:
    if "enum" in part:
        return " | ".join(str(value) for value in part["enum"])
    if "const" in part:
        return str(part["const"])
    kinds = [_kind(choice) for choice in part.get("anyOf", part.get("oneOf", ()))]
    return str(part["type"]) if "type" in part else " | ".join(filter(None, kinds)) or "object"


def _default(path: SettingPath, defaults: Mapping[str, Any], part: Schema) -> object:
    """What holds where nothing is said; within a group that is off, where nothing else is said of it."""
    value: Any = defaults
    for name in path:
        value = value.get(name, part.get("default")) if isinstance(value, Mapping) else part.get("default")
    return value
