import json
import subprocess
import sys

PROGRAM = """
import logging, structlog
from core.logging import configure_logging
configure_logging("INFO")
with structlog.contextvars.bound_contextvars(job_id="job_1"):
    structlog.get_logger("ours").info("started", name="a\\nb")
    logging.getLogger("theirs").warning("careful %s", "now")
    structlog.get_logger("ours").debug("quiet")
    try:
        1 / 0
    except ZeroDivisionError:
        structlog.get_logger("ours").exception("failed")
"""


def test_every_line_is_one_json_object_whoever_wrote_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    ours, theirs, failed = map(json.loads, done.stderr.splitlines())
    assert (ours["event"], ours["level"], ours["logger"], ours["job_id"]) == (
        "started",
        "info",
        "ours",
        "job_1",
    )
    assert ours["name"] == "a\nb"
    assert (theirs["event"], theirs["job_id"]) == ("careful now", "job_1")
    assert "ZeroDivisionError" in failed["exception"]
