"""Turns whatever an endpoint raises into a problem."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from api.problems import ApiError, Code, ProblemItem, problem_response
from compression.errors import InputError
from db.errors import IllegalTransition, InUse, NotFound

RETRY_AFTER_SECONDS = "5"
HTTP_CODES = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}
"""Of what the framework raises by itself; all else of it is a body that it could not read."""
ITEM_CODES = {"extra_forbidden": "unknown_field", "missing": "missing_field"}
ITEM_MESSAGES = {"extra_forbidden": "there is no such field", "missing": "this field is required"}

log = structlog.get_logger("api")


def install(app: FastAPI) -> None:
    """Register the handlers. What they do not know is answered by the request envelope."""
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(ClientDisconnect, _client_disconnect)
    app.add_exception_handler(OSError, _os_error)
    app.add_exception_handler(NotFound, _not_found)
    app.add_exception_handler(InUse, _in_use)
    app.add_exception_handler(IllegalTransition, _illegal_state)
    for unavailable in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(unavailable, _database_unavailable)


@contextmanager
def refused_as(code: Code) -> Iterator[None]:
    """Answer a fault of the input with a problem that lists all that is wrong."""
    try:
        yield
    except InputError as error:
        raise refusal(
            code, [ProblemItem(pointer=p.place, code=p.code, message=p.message) for p in error.problems]
        ) from error


def refusal(code: Code, items: Sequence[ProblemItem]) -> ApiError:
    """A problem that says in its detail the first thing that is wrong, and lists everything."""
    first = f"{items[0].pointer}: {items[0].message}" if items[0].pointer else items[0].message
    rest = f" (and {len(items) - 1} more)" if len(items) > 1 else ""
    return ApiError(code, f"{first}{rest}.", items)


def json_pointer(location: Sequence[str | int], body: Any, *, missing: bool) -> str:
    """The JSON pointer of a pydantic location, which also names the chosen members of unions."""
    pointer, value = "", body
    for index, part in enumerate(location):
        within = (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int)
        )
        if within or (missing and index == len(location) - 1):
            pointer += "/" + str(part).replace("~", "~0").replace("/", "~1")
            value = value[part] if within else None
    return pointer


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not isinstance(error, ApiError):
        code = HTTP_CODES.get(error.status_code, Code.MALFORMED_REQUEST)
        allow = {"Allow": _allowed_methods(request)} if code is Code.METHOD_NOT_ALLOWED else {}
        error = ApiError(code, f"{code.title}.", headers=allow)
    return problem_response(error, request.state.request_id)


def _allowed_methods(request: Request) -> str:
    """Of the path; the framework knows only those of the first route with it."""
    path = request.scope["path"]
    routes = [r for r in request.app.routes if isinstance(r, Route) and r.path_regex.match(path)]
    return ", ".join(sorted({method for route in routes for method in route.methods or ()}))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    items = [_item(raw, error.body) for raw in error.errors()]
    return problem_response(refusal(Code.INVALID_REQUEST, items), request.state.request_id)


def _item(raw: dict[str, Any], body: Any) -> ProblemItem:
    kind = raw["type"]
    where, *location = raw["loc"]
    if where == "body":
        pointer = json_pointer(location, body, missing=kind == "missing")
    else:
        pointer = "/" + "/".join(str(part) for part in raw["loc"])
    message = ITEM_MESSAGES.get(kind) or raw["msg"].removeprefix("Value error, ")
    return ProblemItem(pointer=pointer, code=ITEM_CODES.get(kind, kind), message=message)


async def _not_found(request: Request, error: Exception) -> Response:
    return problem_response(ApiError(Code.NOT_FOUND, _sentence(error)), request.state.request_id)


async def _in_use(request: Request, error: Exception) -> Response:
    return problem_response(ApiError(Code.IN_USE, _sentence(error)), request.state.request_id)


async def _illegal_state(request: Request, error: Exception) -> Response:
    assert isinstance(error, IllegalTransition)
    problem = ApiError(Code.ILLEGAL_STATE, _sentence(error), state=error.state)
    return problem_response(problem, request.state.request_id)


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


async def _client_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; the log does


async def _os_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise error
    problem = ApiError(Code.STORAGE_FULL, "The storage is full: delete what is not needed.")
    return problem_response(problem, request.state.request_id)


async def _database_unavailable(request: Request, error: Exception) -> Response:
    log.warning("database unavailable", error=str(error))
    problem = ApiError(
        Code.UNAVAILABLE,
        "The database cannot be reached; try again.",
        headers={"Retry-After": RETRY_AFTER_SECONDS},
    )
    return problem_response(problem, request.state.request_id)
