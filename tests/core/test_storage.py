import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.storage import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "storage")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_text("weights")
    return path


def test_a_file_is_linked_not_copied(storage: Storage, source: Path) -> None:
    storage.put("models/mdl_1/model.safetensors", source)
    stored = storage.path("models/mdl_1/model.safetensors")
    assert stored.samefile(source)
    storage.put("models/mdl_1/model.safetensors", source)
    assert stored.read_text() == "weights"


def test_a_file_from_another_disk_is_copied(
    storage: Storage, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    storage.put("a/b", source)
    assert storage.path("a/b").read_text() == "weights"
    assert not storage.path("a/b").samefile(source)


def test_a_put_that_fails_leaves_the_old_file_and_nothing_else(
    storage: Storage, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.put("a/b", source)
    other = source.with_name("other")
    other.write_text("more weights")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        storage.put("a/b", other)
    assert storage.path("a/b").read_text() == "weights"
    assert [path.name for path in storage.path("a").iterdir()] == ["b"]


def test_folders_come_back_as_they_were(storage: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "one").write_text("1")
    (folder / "deep" / "two").write_text("2")
    (folder / "link").symlink_to("/etc/passwd")
    storage.put_folder("datasets/ds_1", folder)
    storage.fetch("datasets/ds_1", tmp_path / "back")
    found = {str(path.relative_to(tmp_path / "back")) for path in (tmp_path / "back").rglob("*")}
    assert found == {"one", "deep", "deep/two"}
    storage.delete("datasets/ds_1")
    storage.delete("datasets/ds_1")
    with pytest.raises(FileNotFoundError):
        storage.fetch("datasets/ds_1", tmp_path / "again")
    assert (tmp_path / "back" / "one").read_text() == "1"


def test_a_staging_folder_is_gone_however_it_ends(storage: Storage) -> None:
    with pytest.raises(ZeroDivisionError), storage.staging() as folder:
        (folder / "file").write_text(str(1 / 0))
    assert not folder.exists()


def test_a_log_grows_where_it_can_be_read(storage: Storage) -> None:
    for text in (b"one ", b"two"):
        with storage.append("jobs/job_1/logs.txt") as stream:
            stream.write(text)
            assert storage.path("jobs/job_1/logs.txt").read_bytes().endswith(text)
    assert storage.path("jobs/job_1/logs.txt").read_bytes() == b"one two"


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", ".staging/x", "a\\b", "a\0"]
)
def test_keys_that_are_none_are_refused(storage: Storage, key: str) -> None:
    with pytest.raises(ValueError, match="not a storage key"):
        storage.path(key)


@given(st.text(max_size=40))
def test_no_key_leads_out_of_the_storage(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    root = tmp_path_factory.getbasetemp() / "fuzzed"
    try:
        path = Storage(root).path(key)
    except ValueError:
        return
    assert path.resolve().is_relative_to(root)
