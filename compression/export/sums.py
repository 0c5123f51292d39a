"""SHA256SUMS: what the files of a folder are, in the form that `sha256sum --check` reads."""

import hashlib
from pathlib import Path

from compression.errors import InputError, Problem

SUMS = "SHA256SUMS"
ALWAYS_THERE = ("manifest.json", "model.tar", "predictions.jsonl", "report.json")
"""Files of every result."""


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of a folder by its path there."""
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files_of(folder)}


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def write_sums(folder: Path) -> None:
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests(folder).items())
    (folder / SUMS).write_text(lines, "utf-8")


def check_sums(folder: Path) -> int:
    """How many files there are, all as they were written.

    Raises:
        InputError: a file is missing or changed.
    """
    sums = folder / SUMS
    if not sums.exists():
        raise InputError(Problem("missing_file", f"there is no {SUMS} in {folder}", SUMS))
    entries = [line.partition("  ")[::2] for line in sums.read_text("utf-8", errors="replace").splitlines()]
    absent = set(ALWAYS_THERE) - {name for _, name in entries}
    problems = [Problem("missing_file", f"not listed in {SUMS}", name) for name in sorted(absent)]
    for digest, name in entries:
        file = folder / Path(name).name
        if not file.is_file():
            problems.append(Problem("missing_file", "listed, but not there", name or SUMS))
        elif _digest(file) != digest:
            problems.append(Problem("sum_differs", "the content is not what was written", name))
    if problems:
        raise InputError(problems)
    return len(entries)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
