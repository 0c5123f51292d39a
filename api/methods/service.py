"""The catalogue of methods, derived from the one registry."""

import inspect

from api.methods.schemas import Method
from api.problems import ApiError, Code
from compression.registry import METHODS, RECOMMENDED


def list_methods() -> list[Method]:
    return [get_method(name) for name in METHODS]


def get_method(name: str) -> Method:
    params = METHODS.get(name)
    if params is None:
        raise ApiError(Code.NOT_FOUND, f"There is no method {name!r}; there are: {', '.join(METHODS)}.")
    return Method(
        name=name,
        summary=inspect.cleandoc(params.__doc__ or ""),
        paper=params.PAPER,
        tasks=list(params.TASKS),
        architectures=list(params.ARCHITECTURES),
        presets=params.PRESETS,
        recommended_preset=RECOMMENDED.get(name),
        defaults=params().model_dump(mode="json"),
        json_schema=params.model_json_schema(),
    )
