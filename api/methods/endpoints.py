"""What one can do to a model."""

from api.dependencies import contract_router
from api.methods import service
from api.methods.schemas import Method, MethodList
from api.problems import Code, problems

router = contract_router("/v1/methods", "methods")


@router.get("")
async def list_methods() -> MethodList:
    """All compression methods, with their settings."""
    return MethodList(data=service.list_methods())


@router.get("/{name}", responses=problems(Code.NOT_FOUND))
async def get_method(name: str) -> Method:
    """One compression method, with the JSON schema of its settings."""
    return service.get_method(name)
