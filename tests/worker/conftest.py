from tests.worker.fixtures import inputs, make_service, service

__all__ = ["inputs", "make_service", "service"]
