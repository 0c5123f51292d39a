"""The two kinds of failure the engine knows: the user's fault and everybody else's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum


class ReasonClass(StrEnum):
    """Who can do something about a failure."""

    USER = "user"
    CAPACITY = "capacity"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input, and where it is."""

    code: str
    message: str
    place: str = ""
    """A file, a line, a tensor or a JSON pointer (`/steps/0/successor_layers`)."""


class InputError(Exception):
    """The input is at fault: the same input fails again, so nobody should retry it."""

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        super().__init__(
            "; ".join(f"{p.place}: {p.message}" if p.place else p.message for p in self.problems)
        )

    @property
    def code(self) -> str:
        """The stable code of the first problem, which names the failure of a job."""
        return self.problems[0].code


@contextmanager
def problems_below(place: str) -> Iterator[None]:
    """Problems of a part, told as those of the whole that has it at this place."""
    try:
        yield
    except InputError as error:
        raise InputError([_below(place, problem) for problem in error.problems]) from error


def _below(place: str, problem: Problem) -> Problem:
    """A place in a file has none below a pointer: the message tells it."""
    if problem.place and not problem.place.startswith("/"):
        return replace(problem, place=place, message=f"{problem.place}: {problem.message}")
    return replace(problem, place=(place + problem.place).rstrip("/"))


class ComputeError(Exception):
    """Work failed although the input was accepted: out of memory, a diverged loss, a full disk."""

    def __init__(self, code: str, message: str, reason_class: ReasonClass = ReasonClass.INTERNAL) -> None:
        self.code = code
        self.reason_class = reason_class
        super().__init__(message)


class Stopped(Exception):
    """The process was asked to stop and has written its checkpoint."""
