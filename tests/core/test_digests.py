import hashlib
from pathlib import Path

from core.digests import describe_file, digest_of


def test_a_file_is_described_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    expected = {"name": "a", "size": 7, "sha256": hashlib.sha256(b"content").hexdigest()}
    assert describe_file(tmp_path / "a") == expected


def test_the_digest_of_a_set_is_that_of_sha256sum_lines_in_any_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
    files = [describe_file(tmp_path / name) for name in ("b", "a")]
    lines = "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in ("a", "b"))
    assert digest_of(files) == digest_of(files[::-1]) == hashlib.sha256(lines.encode()).hexdigest()
