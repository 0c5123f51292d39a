"""Requests that are safe to repeat: the repetition of one that created something gets the first answer."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fastapi import Response
from pydantic import BaseModel
from sqlalchemy import Connection

from api.problems import ApiError, Code
from db.repositories import idempotency_keys


@dataclass(frozen=True, slots=True)
class Repeatable:
    """Who sent which key to which route; without a key nothing is remembered."""

    api_key_id: str
    route: str
    key: str | None


class Answer(NamedTuple):
    response: Response
    repeated: bool
    """It is that of an earlier request; what this one made is of no use."""


def created(location: str, body: BaseModel) -> Response:
    content = body.model_dump_json(by_alias=True)
    return Response(content, 201, {"Location": location}, "application/json")


def once(connection: Connection, request: Repeatable, content: str, create: Callable[[], Response]) -> Answer:
    """The answer of `create`, kept in this transaction, or the kept one of an earlier request with the same content.

    A repetition that overlaps with the first request waits for its end.

    Raises:
        ApiError: the key was used for other content.
    """
    if request.key is None:
        return Answer(create(), repeated=False)
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    place = {"api_key_id": request.api_key_id, "route": request.route, "key": request.key}
    earlier = idempotency_keys.reserve(connection, **place, request_hash=fingerprint)
    if earlier is None:
        response = create()
        idempotency_keys.complete(
            connection,
            **place,
            status=response.status_code,
            headers={"Location": response.headers["Location"]},
            body=json.loads(bytes(response.body)),
        )
        return Answer(response, repeated=False)
    if earlier.request_hash != fingerprint:
        detail = "This Idempotency-Key was used for a different request: take a new key for a new request."
        raise ApiError(Code.IDEMPOTENCY_KEY_REUSED, detail)
    content = json.dumps(earlier.body, separators=(",", ":"), ensure_ascii=False)
    response = Response(content, earlier.status or 201, earlier.headers, "application/json")
    return Answer(response, repeated=True)
