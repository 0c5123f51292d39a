"""JSON bodies read strictly: bounded, of the right type, without what two readers could understand differently."""

import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.problems import ApiError, Code
from compression.errors import InputError
from compression.strict_json import parse_json_object

MAX_BYTES = 1 << 20
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""The one character of JSON that PostgreSQL cannot store."""


class JsonRoute(APIRoute):
    """A route that reads its body by `JsonRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_strictly(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return handle_strictly


class JsonRequest(Request):
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            body = bytearray()
            async for chunk in self.stream():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ApiError(Code.TOO_LARGE, f"A JSON body may have {MAX_BYTES} bytes.")
            self._body = bytes(body)
        if self._body and not _is_json(self.headers.get("content-type", "")):
            raise ApiError(Code.UNSUPPORTED_MEDIA_TYPE, "The body must be sent as application/json.")
        return self._body

    async def json(self) -> Any:
        body = await self.body()
        if NUL.search(body):
            raise ApiError(Code.MALFORMED_REQUEST, "A string of the body holds the character NUL.")
        try:
            return parse_json_object(body, "")
        except InputError as error:
            raise ApiError(Code.MALFORMED_REQUEST, f"The body cannot be read: {error}.") from error


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"
