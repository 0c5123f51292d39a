"""Archives as people make them are unpacked; hostile, broken and greedy ones are refused and leave nothing."""

import gzip
import random
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.archive import CHUNK, ArchiveError, unpack
from tests.core.archives import (
    NOISE,
    huge_pax_header,
    member,
    overlapping_zip,
    pax_tar,
    tar_named,
    tar_of,
    with_size_field,
    with_zip_directory,
    zip_named,
    zip_of,
    zip_with_mode,
)

MAX_BYTES = 8 << 20


def unpack_bytes(content: bytes, folder: Path) -> dict[str, bytes]:
    """Unpack in a folder of its own beside a canary, and give back what was written, whatever became of it."""
    folder.mkdir(exist_ok=True)
    archive = folder / "upload"
    archive.write_bytes(content)
    (folder / "canary").write_text("alive")
    try:
        unpack(archive, folder / "work" / "into", max_bytes=MAX_BYTES)
    finally:
        assert (folder / "canary").read_text() == "alive"
        assert {p.name for p in folder.iterdir()} == {"upload", "canary", "work"}
        assert {p.name for p in (folder / "work").iterdir()} <= {"into"}
    into = folder / "work" / "into"
    return {str(p.relative_to(into)): p.read_bytes() for p in into.rglob("*") if p.is_file()}


WHOLE = {"config.json": b"{}", "vocab.txt": NOISE}

FOLDER = {f"model/{name}": content for name, content in WHOLE.items()}
DOTTED = {f"./{name}": content for name, content in WHOLE.items()}
TAR = tar_of(*((member(name), content) for name, content in WHOLE.items()))

GOOD = {
    "zip": zip_of(*WHOLE.items()),
    "stored zip": zip_of(*WHOLE.items(), method=zipfile.ZIP_STORED),
    "zip with folder": zip_of(*FOLDER.items()),
    "zip with folder entry": zip_of(("model/", b""), *FOLDER.items()),
    "zip of macOS": zip_of(*FOLDER.items(), ("__MACOSX/model/._config.json", b"x"), ("model/.DS_Store", b"x")),
    "tar": TAR,
    "tar of the current folder": tar_of(
        (member("./", type=tarfile.DIRTYPE), b""), *((member(name), content) for name, content in DOTTED.items())),
    "tar with folder": tar_of(
        (member("model", type=tarfile.DIRTYPE), b""), *((member(name), content) for name, content in FOLDER.items())),
    "tar whose folder has the name of a file": tar_of(
        *((member(f"config.json/{name}"), content) for name, content in WHOLE.items())),
    "old tar": tar_of(*((member(name), content) for name, content in WHOLE.items()), format=tarfile.USTAR_FORMAT),
    "gnu tar": tar_of(*((member(name), content) for name, content in WHOLE.items()), format=tarfile.GNU_FORMAT),
    "tar.gz": gzip.compress(TAR),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_unpacks_what_people_make(name: str, tmp_path: Path) -> None:
    assert unpack_bytes(GOOD[name], tmp_path) == WHOLE


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_foreign_names(format: int, tmp_path: Path) -> None:
    names = ["d/" + "x" * 230, "modèle/größe.json", "d/" + "y" * 99]
    tar = tar_of(*((member(name), name.encode()) for name in names), format=format)
    assert unpack_bytes(tar, tmp_path) == {name: name.encode() for name in names}


def test_long_names_in_the_prefix_field(tmp_path: Path) -> None:
    name = "p" * 120 + "/" + "x" * 90
    tar = tar_of((member(name), NOISE), (member("b"), b""), format=tarfile.USTAR_FORMAT)
    assert unpack_bytes(tar, tmp_path) == {name: NOISE, "b": b""}


def test_unpacks_a_size_beyond_one_chunk(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(3 * CHUNK + 7)
    for archive in (
        tar_of((member("a"), content)),
        zip_of(("a", content)),
        gzip.compress(tar_of((member("a"), content)), 1),
    ):
        folder = tmp_path / str(len(archive))
        assert unpack_bytes(archive, folder) == {"a": content}


BAD_NAMES = {
    "parent": ("../x", "archive_unsafe_name"),
    "parent inside": ("a/../../x", "archive_unsafe_name"),
    "parent at the end": ("a/..", "archive_unsafe_name"),
    "absolute": ("/tmp/x", "archive_unsafe_name"),
    "two slashes": ("//x", "archive_unsafe_name"),
    "drive": ("C:x", "archive_unsafe_name"),
    "drive with folder": ("c:/x", "archive_unsafe_name"),
    "backslash": ("..\\x", "archive_unsafe_name"),
    "newline": ("a\nb", "archive_unsafe_name"),
    "terminal escape": ("a\x1b[2Jb", "archive_unsafe_name"),
    "300 characters": ("x" * 300, "archive_bad_name"),
    "300 characters in folders": ("x/" * 150 + "y", "archive_bad_name"),
    "256 bytes": ("é" * 128, "archive_bad_name"),
    "not NFC": ("e\u0301.json", "archive_bad_name"),
    "no name": (".", "archive_bad_name"),
}


@pytest.mark.parametrize("pack", [zip_named, tar_named])
@pytest.mark.parametrize("case", BAD_NAMES)
def test_refuses_bad_names(case: str, pack: Callable[[str], bytes], tmp_path: Path) -> None:
    name, code = BAD_NAMES[case]
    with pytest.raises(ArchiveError) as caught:
        unpack_bytes(pack(name), tmp_path)
    assert caught.value.code == code
    assert caught.value.entry.startswith(name[:1])
    assert caught.value.entry.isprintable()


TEXT = b"all work and no play makes jack a dull boy\n"
ZEROS = bytes(4 << 20)

BAD_ARCHIVES: dict[str, tuple[bytes, str, str]] = {
    # What is no archive, or only a part of one.
    "empty file": (b"", "not_an_archive", ""),
    "text": (b"sentence\tlabel\n" * 100, "not_an_archive", ""),
    "a block of zeros": (bytes(10240), "not_an_archive", ""),
    "gzip of text": (gzip.compress(TEXT * 100), "not_an_archive", ""),
    "safetensors": (struct.pack("<Q", 2) + b"{}", "not_an_archive", ""),
    "7z": (b"7z\xbc\xaf'\x1c" + NOISE, "not_an_archive", ""),
    "zip of nothing": (zip_of(), "archive_empty", ""),
    "tar of one folder": (tar_of((member("m", type=tarfile.DIRTYPE), b"")), "archive_empty", ""),
    "cut zip": (zip_of(("a", NOISE))[:-30], "archive_damaged", ""),
    "zip cut in the data": (zip_of(("a", NOISE))[:500], "archive_damaged", ""),
    "cut tar": (tar_of((member("a"), NOISE))[:1000], "archive_damaged", "a"),
    "tar without end mark": (tar_of((member("a"), NOISE))[: 512 + 1024], "archive_damaged", "a"),
    "cut tar.gz": (gzip.compress(tar_of((member("a"), NOISE)))[:-100], "archive_damaged", "a"),
    "tar.gz without checksum": (gzip.compress(tar_of((member("a"), NOISE)))[:-8], "archive_damaged", "a"),
    "tar.gz with wrong checksum": (gzip.compress(tar_of((member("a"), NOISE)))[:-8] + bytes(8), "archive_damaged", "a"),
    "zip with wrong content": (zip_of(("a", NOISE), method=0).replace(NOISE[:9], b"other one"), "archive_damaged", "a"),
    "zip with wrong local name": (zip_of(("abc", NOISE)).replace(b"abc", b"xyz", 1), "archive_damaged", "abc"),
    "tar with a damaged header": (
        tar_of((member("a"), NOISE), (member("second"), b"")).replace(b"second", b"change"), "archive_damaged", "a"),
    "tar with data after its end": (tar_of((member("a"), NOISE)) + bytes(2 << 20), "archive_damaged", "a"),
    # What is no regular file.
    "symlink": (tar_of((member("s", type=tarfile.SYMTYPE, link="/etc"), b"")), "archive_not_regular", "s"),
    "hard link": (tar_of((member("h", type=tarfile.LNKTYPE, link="/etc/passwd"), b"")), "archive_not_regular", "h"),
    "hard link to a file inside": (
        tar_of((member("a"), NOISE), (member("h", type=tarfile.LNKTYPE, link="a"), b"")), "archive_not_regular", "h"),
    "hard link to a symlink (CVE-2026-11940)": (
        tar_of((member("s", type=tarfile.SYMTYPE, link=".."), b""), (member("h", type=tarfile.LNKTYPE, link="s"), b"")),
        "archive_not_regular", "s"),
    "write through a symlink (CVE-2025-4517)": (
        tar_of((member("s", type=tarfile.SYMTYPE, link="d/" * 120 + ".."), b""), (member("s/x"), NOISE)),
        "archive_not_regular", "s"),
    "character device": (tar_of((member("c", type=tarfile.CHRTYPE), b"")), "archive_not_regular", "c"),
    "block device": (tar_of((member("b", type=tarfile.BLKTYPE), b"")), "archive_not_regular", "b"),
    "FIFO": (tar_of((member("f", type=tarfile.FIFOTYPE), b"")), "archive_not_regular", "f"),
    "contiguous file": (tar_of((member("7", type=tarfile.CONTTYPE), b"")), "archive_not_regular", "7"),
    "old sparse file": (tar_of((member("S", type=tarfile.GNUTYPE_SPARSE), b"")), "archive_not_regular", "S"),
    "sparse file": (pax_tar({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}), "archive_not_regular", "a"),
    "set-user bit": (tar_of((member("a", mode=0o4755), NOISE)), "archive_not_regular", "a"),
    "zip symlink": (zip_with_mode("s", 0o120777), "archive_not_regular", "s"),
    "zip FIFO": (zip_with_mode("f", 0o010644), "archive_not_regular", "f"),
    "zip device": (zip_with_mode("c", 0o020644), "archive_not_regular", "c"),
    "zip set-user bit": (zip_with_mode("u", 0o104755), "archive_not_regular", "u"),
    # Names that clash.
    "tar: twice": (tar_of((member("a"), NOISE), (member("a"), NOISE)), "archive_duplicate_name", "a"),
    "tar: twice in disguise": (
        tar_of((member("d/a"), NOISE), (member("./d//a"), NOISE)), "archive_duplicate_name", "./d//a"),
    "zip: twice": (
        zip_of(("first", NOISE), ("other", NOISE)).replace(b"other", b"first"), "archive_duplicate_name", "first"),
    "case": (tar_of((member("a"), NOISE), (member("A"), NOISE)), "archive_duplicate_name", "A"),
    "case of a folder": (zip_of(("d/a", NOISE), ("D/b", NOISE)), "archive_duplicate_name", "D/b"),
    "file, then folder": (zip_of(("a", NOISE), ("a/b", NOISE)), "archive_duplicate_name", "a/b"),
    "folder, then file": (tar_of((member("a/b"), NOISE), (member("a"), NOISE)), "archive_duplicate_name", "a"),
    "name by PAX": (pax_tar({"path": "../x"}), "archive_unsafe_name", "../x"),
    "NUL by PAX": (pax_tar({"path": "a\0b"}), "archive_unsafe_name", "a\\x00b"),
    "NUL in a zip": (zip_of(("aXb", NOISE)).replace(b"aXb", b"a\0b"), "archive_unsafe_name", "a\\x00b"),
    "zip entry without a name": (
        with_zip_directory(zip_of(("a", NOISE)), lambda d: d[:28] + bytes(2) + d[30:46]), "archive_bad_name", ""),
    "not UTF-8": (
        with_size_field(b"\xff" + tar_named("a")[1:], b"00000001750\0"), "archive_unsafe_name", "\\xff"),
    # What would cost too much.
    "tar: 65 files": (tar_of(*((member(f"f{i}"), NOISE) for i in range(65))), "archive_too_many_files", "f64"),
    "zip: 65 files": (zip_of(*((f"f{i}", NOISE) for i in range(65))), "archive_too_many_files", "f64"),
    "zip: 65 folders": (zip_of(*((f"f{i}/", b"") for i in range(65))), "archive_too_many_files", "f64/"),
    "too large": (tar_of(*((member(name), ZEROS) for name in "abc")), "archive_too_large", "c"),
    "too large, and only says so": (
        with_size_field(tar_of((member("a"), b"")), b"\x80" + (1 << 80).to_bytes(11, "big")), "archive_too_large", "a"),
    "too large by PAX": (pax_tar({"size": str(10**15)}), "archive_too_large", "a"),
    "zip bomb": (zip_of(("ok", NOISE), ("zeros", ZEROS)), "archive_bomb", "zeros"),
    "tar.gz bomb": (gzip.compress(tar_of((member("zeros"), ZEROS))), "archive_bomb", "zeros"),
    "zip of overlapping entries": (overlapping_zip(), "archive_overlapping_entries", "b"),
    "zip of a million entries": (
        with_zip_directory(zip_of(("a", b"")), lambda directory: directory * 1_000_000), "archive_too_many_files", ""),
    "huge PAX header": (huge_pax_header(), "archive_damaged", ""),
    "endless headers": (tar_of((member("L", type=tarfile.GNUTYPE_LONGNAME), b""))[:512] * 2000, "archive_damaged", ""),
    "wrong PAX record": (pax_tar({"comment": "x"}).replace(b"13 comment=x", b"99 comment=x"), "archive_damaged", ""),
    "negative size (CVE-2025-8194)": (with_size_field(tar_of((member("a"), b"")), b"\xff" * 12), "archive_damaged", ""),
    # What cannot be read.
    "encrypted zip": (
        with_zip_directory(zip_of(("a", NOISE)), lambda d: d[:8] + b"\x01" + d[9:]), "archive_encrypted", "a"),
    "zip with bzip2": (zip_of(("a", NOISE), method=zipfile.ZIP_BZIP2), "archive_unsupported_compression", "a"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_refuses_bad_archives(case: str, tmp_path: Path) -> None:
    content, code, entry = BAD_ARCHIVES[case]
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError) as caught:
            unpack_bytes(content, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (caught.value.code, caught.value.entry) == (code, entry)
    assert caught.value.message
    assert peak < 12 << 20, "an archive must not choose how much memory is used"


def test_the_same_number_of_files_is_fine(tmp_path: Path) -> None:
    assert len(unpack_bytes(zip_of(*((f"m/f{i}", NOISE) for i in range(64))), tmp_path)) == 64


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "mine").write_text("mine")
    (tmp_path / "a.zip").write_bytes(zip_named("a"))
    with pytest.raises(FileExistsError):
        unpack(tmp_path / "a.zip", tmp_path / "into", max_bytes=MAX_BYTES)
    assert (tmp_path / "into" / "mine").read_text() == "mine"


PACKERS: list[Callable[..., bytes]] = [zip_of, tar_of]
PARTS = st.sampled_from(
    ["..", ".", "", "a", "A", "etc", "C:", "~", "\\", "..\\", "\0", "é", "e\u0301", "x" * 120]
)
NAMES = st.one_of(
    st.text(min_size=1, max_size=300), st.lists(PARTS, min_size=1, max_size=6).map("/".join).filter(bool)
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=150, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=3), pack=st.sampled_from(PACKERS))
def test_no_name_leads_out(
    names: list[str], pack: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        content = pack(*((member(name) if pack is tar_of else name, NOISE) for name in names))
    except (ValueError, IndexError):
        return  # a name that cannot be packed cannot arrive either
    try:
        written = unpack_bytes(content, tmp_path_factory.mktemp("names"))
    except ArchiveError as error:
        written = {error.entry: NOISE}
    assert set(written.values()) == {NOISE}


@settings(max_examples=200, deadline=None)
@given(data=st.data(), case=st.sampled_from(sorted(GOOD)))
def test_damage_anywhere_is_refused_or_harmless(
    data: st.DataObject, case: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(GOOD[case])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ArchiveError):
        unpack_bytes(bytes(content), tmp_path_factory.mktemp("damage"))
