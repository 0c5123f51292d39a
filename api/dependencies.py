"""What endpoints ask for."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from api.context import Context
from api.names import (
    DATASET_ID_PATTERN,
    EXAMPLE_HEX,
    FILE_NAME_PATTERN,
    FILE_PATH_PATTERN,
    JOB_ID_PATTERN,
    MODEL_ID_PATTERN,
)
from api.problems import ApiError, Code, problems


def context_of(request: Request) -> Context:
    """What the application shares; for dependencies and for the one endpoint that is polled."""
    context: Context = request.app.state.context
    return context


# A coroutine, since FastAPI runs plain functions in a thread, which costs more than this does.
async def _shared(request: Request) -> Context:
    return context_of(request)


Shared = Annotated[Context, Depends(_shared)]


class _KeyScheme(HTTPBearer):
    """The id of the key that the request comes with. One dependency and not several: each costs every request."""

    def __init__(self) -> None:
        description = "An API key: `pw_…`, made by `python -m api.keys create NAME`."
        super().__init__(scheme_name="key", description=description)

    async def __call__(self, request: Request) -> str:  # type: ignore[override]  # its credentials, judged
        keys = context_of(request).keys
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        owner = await keys.owner(key) if scheme.lower() == "bearer" and key else None
        if owner is None:
            detail = "Send a valid key as `Authorization: Bearer pw_…`."
            raise ApiError(Code.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})
        return owner


_require_key = _KeyScheme()
KeyId = Annotated[str, Depends(_require_key)]


def contract_router(prefix: str, tag: str, route_class: type[APIRoute] = APIRoute) -> APIRouter:
    """A router whose routes all need a key. The names of its functions are the names in the OpenAPI document."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        dependencies=[Depends(_require_key)],
        responses=problems(Code.UNAUTHENTICATED, Code.INVALID_REQUEST, Code.INTERNAL, Code.UNAVAILABLE),
        generate_unique_id_function=operation_id,
        route_class=route_class,
    )


def operation_id(route: APIRoute) -> str:
    return route.name


ModelId = Annotated[str, Path(pattern=MODEL_ID_PATTERN, examples=[f"mdl_{EXAMPLE_HEX}"])]
DatasetId = Annotated[str, Path(pattern=DATASET_ID_PATTERN, examples=[f"ds_{EXAMPLE_HEX}"])]
JobId = Annotated[str, Path(pattern=JOB_ID_PATTERN, examples=[f"job_{EXAMPLE_HEX}"])]
FileName = Annotated[str, Path(pattern=FILE_NAME_PATTERN, examples=["model.safetensors"])]
FilePath = Annotated[str, Path(pattern=FILE_PATH_PATTERN, examples=["1_Pooling/config.json"])]

Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before", max_length=200)]
Limit = Annotated[int, Query(ge=1, le=200)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Makes the request safe to repeat: the repetition gets the first answer",
        pattern=r"^[\x21-\x7e]{1,255}$",
        examples=["5f0c0d6e-1f3b-4a58-9a59-6f1d1f7f6c11"],
    ),
]
