"""One method and its settings, as its JSON schema has them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from plankwright.cli.output import plain, print_table, results
from plankwright.cli.recipe import Schema, settings_of

if TYPE_CHECKING:
    from plankwright.resources import Method


def print_method(method: "Method") -> None:
    results.print(plain(f"{method.name}: {method.summary}"))
    results.print()
    print_table(("setting", "kind", "default", ""), list(_rows(method.json_schema)))


def _rows(schema: Schema) -> Iterator[tuple[str, str, str, str]]:
    seen = set()
    for path, part in settings_of(schema):
        if path not in seen and path != ("method",):
            seen.add(path)
            yield "--set " + ".".join(path), _kind(part), _default(part), part.get("description", "")


def _kind(part: Schema) -> str:
    if "enum" in part:
        return " | ".join(str(value) for value in part["enum"])
    if "const" in part:
        return str(part["const"])
    kinds = [_kind(choice) for choice in part.get("anyOf", part.get("oneOf", ()))]
    return str(part["type"]) if "type" in part else " | ".join(filter(None, kinds)) or "object"


def _default(part: Schema) -> str:
    default: Any = part.get("default")
    return "" if default is None or isinstance(default, dict) else str(default)
