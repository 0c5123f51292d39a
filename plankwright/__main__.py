"""`plankwright`, and `python -m plankwright`."""

import signal
import sys

import typer

from plankwright.cli.app import app as commands
from plankwright.cli.outcome import Exit, report_error
from plankwright.errors import PlankwrightError


def app() -> None:
    """Run a command; whatever goes wrong ends in a sentence and an exit code."""
    as_json = "--json" in sys.argv
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as by Ctrl-C: nothing is left lying about
    try:
        sys.exit(commands(standalone_mode=not as_json))  # by itself, typer draws a box around wrong usage
    except typer.TyperException as error:
        report_error(PlankwrightError("wrong_usage", error.format_message()), as_json)
        sys.exit(error.exit_code)
    except PlankwrightError as error:
        sys.exit(report_error(error, as_json))
    except OSError as error:
        sys.exit(report_error(PlankwrightError("file_error", str(error)), as_json))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


if __name__ == "__main__":
    app()
