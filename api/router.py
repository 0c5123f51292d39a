"""All routes of the contract."""

from fastapi import Depends, FastAPI

from api import health
from api.artifacts import endpoints as artifacts
from api.datasets import endpoints as datasets
from api.dependencies import require_key
from api.jobs import endpoints as jobs
from api.jobs import watching
from api.methods import endpoints as methods
from api.models import endpoints as models
from api.problems import Code, problems

# Those that are polled come first: routes are tried in this order.
ROUTERS = (jobs.router, watching.router, artifacts.router, models.router, datasets.router, methods.router)
ALWAYS = (Code.UNAUTHENTICATED, Code.INVALID_REQUEST, Code.INTERNAL, Code.UNAVAILABLE)


def include_routers(app: FastAPI) -> None:
    """Add the contract, behind the key, and the health checks."""
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(require_key)], responses=problems(*ALWAYS))
    app.include_router(health.router)
