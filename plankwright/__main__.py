"""`plankwright`, and `python -m plankwright`."""

import sys

from plankwright.cli.app import app as commands
from plankwright.cli.outcome import Exit, report_error
from plankwright.errors import PlankwrightError


def app() -> None:
    """Run a command; whatever goes wrong ends in a sentence and an exit code."""
    try:
        commands()
    except PlankwrightError as error:
        sys.exit(report_error(error, as_json="--json" in sys.argv))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


if __name__ == "__main__":
    app()
