"""What is wrong with the rows of a dataset, line by line, until there is enough of it."""

from typing import NoReturn

from compression.errors import InputError, Problem

MAX_PROBLEMS = 20


class ProblemLog:
    """Collects the problems of one or more files, and ends the reading when nobody would read on."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []

    def __len__(self) -> int:
        return len(self._problems)

    def add(self, code: str, message: str, place: str) -> None:
        """Note a problem. Raises InputError with all of them once there are MAX_PROBLEMS."""
        self._problems.append(Problem(code, message, place))
        if len(self._problems) >= MAX_PROBLEMS:
            self.raise_if_any()

    def stop(self, code: str, message: str, place: str) -> NoReturn:
        """Note a problem after which a file cannot be read on. Raises InputError with all that were found."""
        raise InputError([*self._problems, Problem(code, message, place)])

    def raise_if_any(self, beyond: int = 0) -> None:
        """Raise InputError with all problems, if there are more than `beyond`."""
        if len(self._problems) > beyond:
            raise InputError(self._problems)
