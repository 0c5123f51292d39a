"""What surrounds every request: its id, its log line, its place in the metrics, the last answer when all else failed.

Pure ASGI: a wrapper that builds request and response objects costs more than reading a job.
"""

import re
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from api.metrics import Metrics
from api.problems import ApiError, Code, problem_response

GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
NOSNIFF = (b"x-content-type-options", b"nosniff")
QUIET = frozenset({"GET", "HEAD"})
"""Methods whose success is counted but not logged: pollers would drown everything else."""

log = structlog.get_logger("api")


class RequestEnvelope:
    """Gives each request an id, logs and counts it, and answers 500 without a word about the cause."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status = 0
        seconds = 0.0

        async def send_in_envelope(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - started
                message["headers"] = [
                    *message["headers"], (b"x-request-id", request_id.encode()), NOSNIFF
                ]  # fmt: skip
            await send(message)

        try:
            await self.app(scope, receive, send_in_envelope)
        except Exception:
            log.exception("request failed", method=scope["method"], path=scope["path"])
            if status:
                raise  # too late for another answer: the server cuts the connection
            failure = ApiError(
                Code.INTERNAL, "The service failed; its log has the cause under this request_id."
            )
            await problem_response(failure, request_id)(scope, receive, send_in_envelope)
        finally:
            self._account(scope, status, seconds)

    def _account(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"]
        endpoint = scope.get("endpoint")
        self.metrics.observe(endpoint.__name__ if endpoint else "unmatched", status, seconds)
        if status >= 400 or method not in QUIET:
            log.info("request", method=method, path=scope["path"], status=status, seconds=round(seconds, 4))


def _request_id(scope: Scope) -> str:
    """The client's own id where it is harmless in a header and a log, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and GIVEN_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid7().hex
