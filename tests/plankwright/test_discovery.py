from pathlib import Path

import pytest

from plankwright.discovery import Server, find_server
from plankwright.errors import PlankwrightError


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    """The data folder of a running embedded server, where it is by default."""
    folder = tmp_path / ".plankwright"
    folder.mkdir()
    (folder / "server").write_text("http://127.0.0.1:8123\n")
    (folder / "api-key").write_text("pw_embedded\n")
    return folder


def test_what_is_named_wins(embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANKWRIGHT_SERVER", "https://other.example")
    monkeypatch.setenv("PLANKWRIGHT_API_KEY", "pw_other")
    assert find_server("http://named.example", "pw_named") == Server("http://named.example", "pw_named")
    assert find_server() == Server("https://other.example", "pw_other")


def test_the_embedded_server_is_found_beside(embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_server() == Server("http://127.0.0.1:8123", "pw_embedded")
    monkeypatch.chdir("/")
    monkeypatch.setenv("PLANKWRIGHT_DATA", str(embedded))
    assert find_server() == Server("http://127.0.0.1:8123", "pw_embedded")
    assert find_server("http://localhost:8123").key == "pw_embedded"


@pytest.mark.parametrize("url", ["http://evil.example:8123", "http://127.0.0.1:8124"])
def test_the_embedded_key_goes_to_no_other_server(embedded: Path, url: str) -> None:
    with pytest.raises(PlankwrightError, match="--key") as caught:
        find_server(url)
    assert caught.value.code == "no_key"


def test_without_any_server_it_says_how_to_get_one() -> None:
    with pytest.raises(PlankwrightError, match="plankwright serve") as caught:
        find_server()
    assert caught.value.code == "no_server"


def test_the_line_end_of_a_key_file_is_not_part_of_the_key() -> None:
    assert find_server("http://a.example", "pw_1\n").key == "pw_1"
