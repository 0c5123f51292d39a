"""The base of everything a user may set: unknown fields and infinite numbers are errors, values never change."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def on_top_of(preset: dict[str, Any], given: dict[str, Any], *groups: str) -> dict[str, Any]:
    """What is given, and for all that is not, a preset; within groups of settings, too, of which a part is given."""
    partly = {
        name: {**preset.get(name, {}), **given[name]} for name in groups if isinstance(given.get(name), dict)
    }
    return {**preset, **given, **partly}
