"""Every kind of bad model, over HTTP: a 422 that names the place, before any compute, and nothing left behind."""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from api.models.arriving import CHUNKS_AHEAD
from tests.api.requests import codes, context_of, stored, tar_of
from tests.compression.checkpoints.changes import (
    Change,
    all_of,
    config,
    cut,
    remove,
    weights,
    with_value,
    without_tokenizer,
    write,
)
from tests.core import archives
from tests.core.archives import member

EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
POOLER = "bert.pooler.dense.weight"


def send(client: TestClient, name: str, content: bytes) -> tuple[list[str], list[str]]:
    """Codes and pointers of all that is wrong with an archive, which must be refused without a trace."""
    answer = client.post("/v1/models", files=[("file", (name, content))])
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid_model"
    assert stored(context_of(client).settings) == []
    assert client.get("/v1/models").json()["data"] == []
    return codes(answer), [item["pointer"] for item in answer.json()["errors"]]


CHECKPOINTS: dict[str, tuple[Change, str, str]] = {
    "no config": (remove("config.json"), "missing_config", "config.json"),
    "two configs": (write("other/config.json", "{}"), "several_configs", "config.json"),
    "pickled weights": (
        all_of(remove("model.safetensors"), write("pytorch_model.bin", b"\x80\x02")),
        "pickle_weights",
        "pytorch_model.bin",
    ),
    "remote code": (config(auto_map={"AutoModel": "evil.Model"}), "remote_code", "config.json"),
    "another architecture": (config(model_type="llama"), "unsupported_architecture", "config.json"),
    "no tokenizer": (without_tokenizer, "missing_tokenizer", "tokenizer.json"),
    "embeddings of another vocabulary": (
        weights(lambda tensors: tensors.update({EMBEDDINGS: tensors[EMBEDDINGS][:-1]})),
        "embedding_rows_differ",
        f"model.safetensors#{EMBEDDINGS}",
    ),
    "missing weight": (
        weights(lambda tensors: tensors.pop(POOLER)),
        "missing_weights",
        f"model.safetensors#{POOLER}",
    ),
    "extra weight": (
        weights(lambda tensors: tensors.update(extra=np.zeros(1, np.float32))),
        "unexpected_weights",
        "model.safetensors#extra",
    ),
    "cut weights": (cut("model.safetensors", 5000), "truncated_weights", "model.safetensors"),
    "NaN": (with_value(POOLER, float("nan"), 0, 0), "non_finite_weights", f"model.safetensors#{POOLER}"),
    "absurd sizes": (
        config(num_hidden_layers=10**9),
        "invalid_config_value",
        "config.json#/num_hidden_layers",
    ),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_bad_checkpoint_is_refused(
    shared_client: TestClient, checkpoint: Path, tmp_path: Path, case: str
) -> None:
    change, code, pointer = CHECKPOINTS[case]
    folder = shutil.copytree(checkpoint, tmp_path / "bad")
    change(folder)
    found = list(zip(*send(shared_client, "model.tar", tar_of(folder)), strict=True))
    assert any(code == c and p.startswith(pointer) for c, p in found), found


LINK = archives.tar_of((member("model/config.json", type=tarfile.SYMTYPE, link="/etc/passwd"), b""))
ARCHIVES: dict[str, tuple[str, bytes, str]] = {
    "not an archive": ("model.zip", b"hello" * 1000, "not_an_archive"),
    "nothing": ("model.zip", b"", "not_an_archive"),
    "parent path in a tar": ("model.tar", archives.tar_named("../evil"), "archive_unsafe_name"),
    "parent path in a zip": ("model.zip", archives.zip_named("../evil"), "archive_unsafe_name"),
    "absolute path": ("model.tar", archives.tar_named("/etc/evil"), "archive_unsafe_name"),
    "link": ("model.tar", LINK, "archive_not_regular"),
    "device": (
        "model.tar",
        archives.tar_of((member("null", type=tarfile.CHRTYPE), b"")),
        "archive_not_regular",
    ),
    "bomb": ("model.zip", archives.zip_of(("a", bytes(10**7))), "archive_bomb"),
    "cut tar": ("model.tar", archives.tar_named("a")[:600], "archive_damaged"),
    "nothing in it": ("model.tar.gz", archives.zip_of(), "archive_empty"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_bad_archive_is_refused(shared_client: TestClient, case: str) -> None:
    name, content, code = ARCHIVES[case]
    assert send(shared_client, name, content)[0] == [code]


def test_a_bad_tar_is_refused_before_it_has_arrived(shared_client: TestClient) -> None:
    link, rest = LINK[:512], bytes((CHUNKS_AHEAD + 8) << 20)
    (code,), (pointer,) = send(shared_client, "model.tar", link + rest)
    assert (code, pointer) == ("archive_not_regular", "model/config.json")


def test_a_second_archive_is_refused_too(shared_client: TestClient, checkpoint: Path) -> None:
    tar = tar_of(checkpoint)
    answer = shared_client.post("/v1/models", files=[("file", ("a.tar", tar)), ("file", ("b.tar", tar))])
    assert codes(answer) == ["one_archive_or_files"]
    assert stored(context_of(shared_client).settings) == []


def test_a_form_that_ends_within_a_tar_leaves_nothing(shared_client: TestClient, checkpoint: Path) -> None:
    tar = tar_of(checkpoint)
    disposition = b'Content-Disposition: form-data; name="file"; filename="a.tar"'
    body = b"--b\r\n" + disposition + b"\r\n\r\n" + tar[: len(tar) // 2]
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = shared_client.post("/v1/models", content=body, headers=headers)
    assert answer.status_code == 400
    assert stored(context_of(shared_client).settings) == []


def test_the_order_of_a_tar_does_not_matter(shared_client: TestClient, checkpoint: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(checkpoint.iterdir(), reverse=True):
            archive.add(path, path.name)
    answer = shared_client.post("/v1/models", files=[("file", ("a.tar", buffer.getvalue()))])
    assert answer.status_code == 201
    shared_client.delete(answer.headers["location"])
