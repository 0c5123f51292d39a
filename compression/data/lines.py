"""Text files as lines that are known to be clean: UTF-8, no NUL, no lone carriage return, not endless."""

from collections.abc import Iterator
from pathlib import Path

from compression.data.problems import ProblemLog

MAX_LINE_BYTES = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def clean_lines(path: Path, log: ProblemLog) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, its end included; empty lines at the end of the file are left out.

    A line with a problem is logged and given all the same, so that the lines after it are checked too.
    """
    empty: list[tuple[int, str]] = []
    with path.open("rb") as file:
        if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
            file.seek(0)
        number = 0
        while raw := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            line = (number, _decoded(raw, f"{path.name}:{number}", log))
            if raw in (b"\n", b"\r\n"):
                empty.append(line)
                continue
            if empty:
                yield from empty
                empty.clear()
            yield line


def _decoded(raw: bytes, place: str, log: ProblemLog) -> str:
    if len(raw) > MAX_LINE_BYTES:
        log.stop("line_too_long", f"the line is longer than {MAX_LINE_BYTES} bytes", place)
    if b"\0" in raw:
        log.add(
            "nul_character", "the line holds a NUL character (is the file UTF-16? save it as UTF-8)", place
        )
    if b"\r" in raw and raw.count(b"\r") > raw.endswith(b"\r\n"):
        log.add("bare_carriage_return", "a carriage return stands without a line feed", place)
        raw = raw.replace(b"\r", b" ")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = f"byte {raw[error.start]:#04x} at column {error.start + 1}"
        log.add("not_utf8", f"this is not UTF-8: {wrong}; save the file as UTF-8", place)
        return raw.decode("utf-8", "replace")
