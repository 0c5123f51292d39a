"""One method and its settings, as its JSON schema has them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from plankwright.cli.output import print_table, say
from plankwright.cli.recipe import Schema, settings_of

if TYPE_CHECKING:
    from plankwright.resources import Method


def print_method(method: "Method") -> None:
    say(f"{method.name}: {method.summary}")
    print_table(("--set", "kind", "default", ""), list(_rows(method.json_schema)))


def _rows(schema: Schema) -> Iterator[tuple[str, str, str, str]]:
    """One row for each setting; where it differs between alternatives, with all of them."""
    parts: dict[str, list[Schema]] = {}
    for path, part in settings_of(schema):
        parts.setdefault(".".join(path), []).append(part)
    for name, alternatives in parts.items():
        is_group = any(other.startswith(f"{name}.") for other in parts)
        if not is_group and name != "method":
            kinds = dict.fromkeys(map(_kind, alternatives))
            yield name, " | ".join(kinds), _default(alternatives[0]), alternatives[0].get("description", "")


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
