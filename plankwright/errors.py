"""What can go wrong between a user and the service."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a request."""

    pointer: str
    """A JSON pointer into the request, or a file, line or tensor."""
    code: str
    message: str


class PlankwrightError(Exception):
    """The service refused, failed or cannot be used. `code` is stable, the message is for people."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        problems: Sequence[Problem] = (),
        request_id: str | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.status = status
        self.problems = list(problems)
        self.request_id = request_id
        super().__init__(message)


class ServerUnreachable(PlankwrightError):
    """Nothing answered, several times in a row."""

    def __init__(self, message: str) -> None:
        super().__init__("server_unreachable", message)


class DamagedDownload(PlankwrightError):
    """What was received is not what the service says it sent."""

    def __init__(self, message: str) -> None:
        super().__init__("damaged_download", message)
