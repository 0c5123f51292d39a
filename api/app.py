"""The application: `uvicorn --factory api.app:create_app`."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import errors
from api.context import make_context
from api.middleware import RequestEnvelope
from api.openapi import describe
from api.router import all_routes
from core.hints import hint_sender
from core.logging import configure_logging
from core.settings import Settings
from db.engine import Database


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API over the database and the storage of `settings`.

    Without settings this is the edge of a process: they are read from the environment, and logging is set up.
    """
    if settings is None:
        settings = Settings()
        configure_logging(settings.log_level)
        _silence_access_log()
    redis = settings.redis.get_secret_value() if settings.redis else None
    context = make_context(settings, Database(settings.database_url, hint_sender(redis)))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        context.database.close()

    app = FastAPI(
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.context = context
    app.add_middleware(RequestEnvelope, metrics=context.metrics)
    errors.install(app)
    app.router.routes.extend(all_routes())
    describe(app)
    return app


def _silence_access_log() -> None:
    """The request envelope writes a better line, under the request's id."""
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
