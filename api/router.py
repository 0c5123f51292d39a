"""All routes of the service."""

from itertools import chain

from starlette.routing import BaseRoute

from api import health
from api.artifacts import endpoints as artifacts
from api.datasets import endpoints as datasets
from api.jobs import endpoints as jobs
from api.jobs import watching
from api.methods import endpoints as methods
from api.models import endpoints as models

# Those that are polled come first: routes are tried in this order.
ROUTERS = (
    jobs.router,
    watching.router,
    artifacts.router,
    models.router,
    datasets.router,
    methods.router,
    health.router,
)


def all_routes() -> list[BaseRoute]:
    """For the application's own list: a router within a router is searched twice for each request."""
    return list(chain.from_iterable(router.routes for router in ROUTERS))
