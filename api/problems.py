"""The errors of the API: one registry of codes, and their form on the wire (RFC 9457)."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from fastapi import HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field

from api.names import EXAMPLE_HEX

MEDIA_TYPE = "application/problem+json"


class Code(Enum):
    """Every code a problem can carry, with its HTTP status and title. Codes are never renamed."""

    MALFORMED_REQUEST = "malformed_request", 400, "The request body cannot be read"
    UNAUTHENTICATED = "unauthenticated", 401, "A valid API key is needed"
    NOT_FOUND = "not_found", 404, "There is no such thing"
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "The path does not have this method"
    TIMEOUT = "timeout", 408, "The request body came too slowly"
    IN_USE = "in_use", 409, "A job that has not ended uses it"
    ILLEGAL_STATE = "illegal_state", 409, "The job's state does not allow this"
    TOO_LARGE = "too_large", 413, "The request body is too large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, "The request body has the wrong type"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable", 416, "The range lies outside the file"
    INVALID_REQUEST = "invalid_request", 422, "The request is well formed but cannot be carried out"
    INVALID_MODEL = "invalid_model", 422, "The files are not a checkpoint that can be compressed"
    INVALID_DATASET = "invalid_dataset", 422, "The files are not a usable dataset"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused", 422, "The key belongs to a different request"
    TOO_MANY_STREAMS = "too_many_streams", 429, "Too many event streams are open"
    INTERNAL = "internal", 500, "The service failed"
    UNAVAILABLE = "unavailable", 503, "The service cannot work at the moment"
    STORAGE_FULL = "storage_full", 507, "The storage is full"

    code: str
    status: int
    title: str

    def __new__(cls, code: str, status: int, title: str) -> "Code":
        member = object.__new__(cls)
        member._value_ = code
        member.code, member.status, member.title = code, status, title
        return member


class ProblemItem(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(
        description="Where it is: a JSON pointer into the body or the query, or the file, line or tensor of an upload"
    )
    code: str
    message: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """`urn:plankwright:problem:` and the code."""
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemItem] = []
    """All that is wrong with the input, not only the first of it."""
    request_id: str
    """To be named when asking for help; the service's log has it too."""
    state: str | None = None
    """Of the job, where that is what forbids the request."""


class ApiError(HTTPException):
    """What is raised to answer with a problem. FastAPI lets an HTTPException through wherever it is raised."""

    def __init__(
        self,
        code: Code,
        detail: str,
        errors: Sequence[ProblemItem] = (),
        *,
        state: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.state = state
        self.headers = dict(headers or {})
        super().__init__(code.status, detail, headers)


def problem_response(error: ApiError, request_id: str) -> Response:
    """The answer that says what went wrong."""
    code = error.code
    problem = Problem(
        type=f"urn:plankwright:problem:{code.code}",
        title=code.title,
        status=code.status,
        detail=error.detail,
        code=code.code,
        errors=error.errors,
        request_id=request_id,
        state=error.state,
    )
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=code.status,
        headers=error.headers,
        media_type=MEDIA_TYPE,
    )


def problems(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route in OpenAPI: its problems, by status, each code with an example."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        response = by_status.setdefault(code.status, {"description": code.title, "content": {}})
        content = response["content"].setdefault(
            MEDIA_TYPE, {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}
        )
        content["examples"][code.code] = {"$ref": f"#/components/examples/{code.code}"}
    return by_status


def examples() -> dict[str, Any]:
    """An example of each problem, as `problems` refers to them."""
    return {code.code: {"summary": code.title, "value": _example(code)} for code in Code}


def _example(code: Code) -> dict[str, Any]:
    example = Problem(
        type=f"urn:plankwright:problem:{code.code}",
        title=code.title,
        status=code.status,
        detail=f"{code.title}.",
        code=code.code,
        errors=_EXAMPLE_ITEMS.get(code, []),
        request_id=EXAMPLE_HEX,
        state="succeeded" if code is Code.ILLEGAL_STATE else None,
    )
    return example.model_dump(exclude_none=True)


_EXAMPLE_ITEMS = {
    Code.INVALID_REQUEST: [
        ProblemItem(
            pointer="/steps/0/successor_layers",
            code="successor_too_deep",
            message="the successor must have fewer layers than the model's 6",
        )
    ],
    Code.INVALID_MODEL: [
        ProblemItem(
            pointer="pytorch_model.bin", code="pickle_weights", message="send model.safetensors instead"
        )
    ],
    Code.INVALID_DATASET: [
        ProblemItem(pointer="train.csv line 17", code="wrong_column_count", message="3 columns instead of 2")
    ],
}
