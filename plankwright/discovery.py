"""Finds the server to talk to and the key for it."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from plankwright.errors import PlankwrightError

DEFAULT_DATA = ".plankwright"
KEY_FILE = "api-key"
SERVER_FILE = "server"
"""Where a running embedded server writes its URL, beside its key."""


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    key: str


def data_folder() -> Path:
    """The folder of the embedded server that commands look for: PLANKWRIGHT_DATA, else `.plankwright` here."""
    return Path(os.environ.get("PLANKWRIGHT_DATA") or DEFAULT_DATA)


def find_server(url: str | None = None, key: str | None = None) -> Server:
    """What is named, else what the environment names, else the embedded server of the data folder.

    The embedded server's key is only ever sent to that server.

    Raises:
        PlankwrightError: there is no server to talk to, or no key for it.
    """
    embedded_url, embedded_key = (_read(data_folder() / name) for name in (SERVER_FILE, KEY_FILE))
    url = url or os.environ.get("PLANKWRIGHT_SERVER") or embedded_url
    if url is None:
        message = (
            "no server is known: start one here with `plankwright serve`, "
            "or name one with --server or PLANKWRIGHT_SERVER"
        )
        raise PlankwrightError("no_server", message)
    key = key or os.environ.get("PLANKWRIGHT_API_KEY")
    if key is None and embedded_url is not None and _address(url) == _address(embedded_url):
        key = embedded_key
    if key is None:
        raise PlankwrightError(
            "no_key", f"no key for {url} is known: give one with --key or PLANKWRIGHT_API_KEY"
        )
    return Server(url.strip(), key.strip())


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _address(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    return host, parts.port
