from pathlib import Path

import pytest

from core.settings import Settings


def test_without_an_environment_everything_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert settings.database_url == f"sqlite:///{tmp_path}/.plankwright/plankwright.db"
    assert settings.redis_url is None


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANKWRIGHT_DATABASE", "postgresql://user:secret@host/db")
    monkeypatch.setenv("PLANKWRIGHT_REDIS", "redis://:secret@host")
    settings = Settings()
    assert settings.database_url == "postgresql://user:secret@host/db"
    assert settings.redis_url == "redis://:secret@host"
    assert "secret" not in repr(settings)
