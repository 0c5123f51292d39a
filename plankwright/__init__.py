"""The Python client of Plankwright, and its command line.

from plankwright import Plankwright

with Plankwright() as service:
    model = service.models.upload("my-bert")
    ...
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plankwright.client import Plankwright
    from plankwright.errors import PlankwrightError

__all__ = ["Plankwright", "PlankwrightError"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `plankwright --help` does not wait for an HTTP client."""
    if name == "Plankwright":
        from plankwright.client import Plankwright

        return Plankwright
    if name == "PlankwrightError":
        from plankwright.errors import PlankwrightError

        return PlankwrightError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
