"""Runs that are done: a long measurement that is interrupted goes on where it was."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.runs import Figures

Found = dict[str, Any]


class Ledger:
    """A file with a line for each run: what was run, and what was found, both as plain JSON."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        self._done: dict[str, Found] = {
            _key(entry["run"]): entry["found"] for entry in map(json.loads, lines)
        }
        self._earlier = set(self._done)
        self._asked = set[str]()

    def found(self, run: dict[str, Any], measure: Callable[[], Found]) -> Found:
        """What a run found, measured where that has not been done; `run` tells it from all others."""
        self._asked.add(_key(run))
        if _key(run) not in self._done:
            found = self._done[_key(run)] = measure()
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"run": run, "found": found}) + "\n")
            print(json.dumps(run), json.dumps(found), sep="\n", file=sys.stderr)
        return self._done[_key(run)]

    def figures(self, run: dict[str, Any], measure: Callable[[], Figures]) -> Figures:
        """The same of what is measured alike for all."""
        return Figures(**self.found(run, lambda: asdict(measure())))

    def told(self) -> str:
        """How the runs that were asked for came about, for the note of a table."""
        asked, self._asked = self._asked, set()
        earlier = len(asked & self._earlier)
        sittings = f"; {earlier} of them in earlier sittings, whose minutes and load are not those above"
        return f"{len(asked)} runs{sittings if earlier else ''}."


@contextmanager
def unfinished(file: Path) -> Iterator[Ledger]:
    """The ledger of a measurement, removed once all of it is done: the next one measures anew."""
    yield Ledger(file)
    file.unlink(missing_ok=True)


def _key(run: dict[str, Any]) -> str:
    return json.dumps(run, sort_keys=True)
