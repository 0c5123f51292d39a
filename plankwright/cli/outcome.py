"""How the command line ends: its exit codes, and how it says what went wrong."""

import json
import sys
from enum import IntEnum

from plankwright.errors import DamagedDownload, PlankwrightError, ServerUnreachable


class Exit(IntEnum):
    """Documented in docs/exit-codes.md."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    CONSTRAINTS_NOT_MET = 3
    JOB_FAILED = 4
    JOB_CANCELLED = 5
    UNREACHABLE = 6
    DAMAGED = 7
    INTERRUPTED = 130


def outcome(state: str, verdict: str | None) -> Exit:
    """The exit code that stands for how a job has ended."""
    if state == "failed":
        return Exit.JOB_FAILED
    if state == "cancelled":
        return Exit.JOB_CANCELLED
    return Exit.CONSTRAINTS_NOT_MET if verdict == "not_met" else Exit.DONE


def report_error(error: PlankwrightError, as_json: bool) -> Exit:
    """Say it on standard error and choose the exit code."""
    if as_json:
        problems = [{"pointer": p.pointer, "code": p.code, "message": p.message} for p in error.problems]
        told = {
            "code": error.code,
            "message": error.message,
            "errors": problems,
            "request_id": error.request_id,
        }
        print(json.dumps({"error": told}), file=sys.stderr)
    else:
        print(f"Error: {error.message} [{error.code}]", file=sys.stderr)
        for problem in error.problems if len(error.problems) > 1 else ():
            print(f"  {problem.pointer}: {problem.message} [{problem.code}]", file=sys.stderr)
    match error:
        case ServerUnreachable():
            return Exit.UNREACHABLE
        case DamagedDownload():
            return Exit.DAMAGED
        case _:
            return Exit.ERROR
