import hashlib
import io
import random
import re
import tarfile
from itertools import chain, repeat
from pathlib import Path

import pytest

from plankwright.downloads import download, unpack
from plankwright.errors import DamagedDownload, PlankwrightError, ServerUnreachable
from plankwright.resources import Artifact
from plankwright.transport import Transport
from tests.plankwright.scripted import Answer, Asked, Script, scripted_server

CONTENT = random.Random(5).randbytes(200_000)


def artifact(content: bytes = CONTENT, name: str = "model.tar") -> Artifact:
    return Artifact(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def ranged(asked: Asked, cut_after: int | None = None) -> Answer:
    """As a server that can go on from any byte."""
    wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
    if not wanted:
        return Answer(body=CONTENT, cut_after=cut_after)
    assert asked.headers["If-Range"] == f'"{artifact().sha256}"'
    return Answer(206, CONTENT[int(wanted[1]) :], cut_after=cut_after)


def fetch(script: Script, folder: Path, wanted: Artifact) -> tuple[Path, list[Asked], list[int]]:
    told: list[int] = []
    with scripted_server(script) as server:
        path = download(
            Transport(server.url, "k"), "/f", wanted, folder, lambda done, total: told.append(done)
        )
    return path, server.asked, told


def test_a_download_that_breaks_goes_on_where_it_broke(tmp_path: Path) -> None:
    cuts = iter([70_000, 50_000, None])
    path, asked, told = fetch(lambda asked: ranged(asked, next(cuts)), tmp_path, artifact())
    assert path.read_bytes() == CONTENT
    assert [a.headers.get("Range") for a in asked] == [None, "bytes=70000-", "bytes=120000-"]
    assert told == sorted(told)
    assert told[-1] == len(CONTENT)
    assert [p.name for p in tmp_path.iterdir()] == ["model.tar"]


def test_a_later_run_goes_on_with_what_an_earlier_one_left(tmp_path: Path) -> None:
    (tmp_path / "model.tar.part").write_bytes(CONTENT[:123_456])
    path, asked, _ = fetch(ranged, tmp_path, artifact())
    assert path.read_bytes() == CONTENT
    assert [a.headers.get("Range") for a in asked] == ["bytes=123456-"]


def test_a_server_that_cannot_go_on_sends_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "model.tar.part").write_bytes(b"of an older version")
    path, _, _ = fetch(lambda asked: Answer(200, CONTENT), tmp_path, artifact())
    assert path.read_bytes() == CONTENT


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "model.tar").write_bytes(CONTENT)
    _, asked, told = fetch(ranged, tmp_path, artifact())
    assert asked == []
    assert told == [len(CONTENT)]


def test_a_changed_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "model.tar").write_bytes(b"x" * len(CONTENT))
    path, _, _ = fetch(ranged, tmp_path, artifact())
    assert path.read_bytes() == CONTENT


def test_damage_is_seen_and_thrown_away(tmp_path: Path) -> None:
    flipped = CONTENT[:1000] + bytes([CONTENT[1000] ^ 1]) + CONTENT[1001:]
    with pytest.raises(DamagedDownload, match="damaged"):
        fetch(lambda asked: Answer(body=flipped), tmp_path, artifact())
    assert list(tmp_path.iterdir()) == []


def test_an_end_that_never_comes_is_given_up_and_kept_for_later(tmp_path: Path) -> None:
    cuts = chain([1000], repeat(0))
    with pytest.raises(ServerUnreachable):
        fetch(lambda asked: ranged(asked, next(cuts)), tmp_path, artifact())
    assert (tmp_path / "model.tar.part").read_bytes() == CONTENT[:1000]


def test_a_bad_line_gets_there_in_the_end(tmp_path: Path) -> None:
    path, asked, _ = fetch(lambda asked: ranged(asked, 10_000), tmp_path, artifact())
    assert path.read_bytes() == CONTENT
    assert len(asked) == 20


@pytest.mark.parametrize("name", ["../model.tar", "/etc/passwd", "a/b", ".bashrc", "..", "", "a\\b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PlankwrightError) as caught:
        fetch(ranged, tmp_path, artifact(name=name))
    assert caught.value.code == "unexpected_name"


def tar(path: Path, *entries: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for entry in entries:
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = 3 if kind == tarfile.REGTYPE else 0
    return info


def test_a_model_is_unpacked_under_its_name(tmp_path: Path) -> None:
    names = ["1_Pooling/config.json", "config.json", "vocab.txt"]
    archive = tar(tmp_path / "model.tar", *(entry(f"model/{name}") for name in names))
    folder = unpack(archive, tmp_path / "out")
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == names
    assert folder == tmp_path / "out" / "model"


@pytest.mark.parametrize(
    "hostile",
    [
        entry("model/../../evil"),
        entry("/model/evil"),
        entry("../evil"),
        entry("model/a/b"),
        entry("model/link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("model/link", tarfile.LNKTYPE, "model/config.json"),
        entry("model/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda hostile: f"{hostile.name}-{hostile.type.decode()}",
)
def test_an_archive_with_anything_else_is_refused(tmp_path: Path, hostile: tarfile.TarInfo) -> None:
    with pytest.raises(PlankwrightError):
        unpack(tar(tmp_path / "model.tar", hostile), tmp_path / "out")
    assert not (tmp_path / "evil").exists()
