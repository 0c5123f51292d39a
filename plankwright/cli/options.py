"""Options that many commands share."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from plankwright.client import Plankwright

Server = Annotated[
    str | None,
    typer.Option(
        "--server", envvar="PLANKWRIGHT_SERVER", help="URL of the server; by default the embedded one here."
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", envvar="PLANKWRIGHT_API_KEY", help="API key; that of the embedded server is found."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else.")]


def connect(server: str | None, key: str | None) -> "Plankwright":
    from plankwright.client import Plankwright  # not before a command needs it: see plankwright/__init__.py

    return Plankwright(server, key)
