"""What the client reads is what the API promises."""

from typing import Any

import pytest

from api.app import create_app
from core.settings import Settings
from plankwright import resources

NAMES = (
    "Model",
    "Dataset",
    "Progress",
    "Reason",
    "Result",
    "Job",
    "Event",
    "Artifact",
    "Method",
    "ModelFacts",
)


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    settings = Settings(data=tmp_path_factory.mktemp("data"), database=None, redis=None)
    document: dict[str, Any] = create_app(settings).openapi()
    schemas: dict[str, Any] = document["components"]["schemas"]
    return schemas


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_the_client_is_always_sent(schemas: dict[str, Any], name: str) -> None:
    read: type[resources.Resource] = getattr(resources, name)
    needed = {field.alias or key for key, field in read.model_fields.items()}
    assert needed <= set(schemas[name]["required"])


def test_every_resource_is_compared() -> None:
    generic = {"Resource", "Page"}
    defined = {
        name
        for name, value in vars(resources).items()
        if isinstance(value, type)
        and issubclass(value, resources.Resource)
        and value.__module__ == resources.__name__
    }
    assert defined - generic == set(NAMES)
