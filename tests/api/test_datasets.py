import json

import pytest
from starlette.testclient import TestClient

from api.context import Context
from tests.api.requests import Files, codes, context_of, csv_rows, dataset_files, send_dataset, stored


def test_files_by_split_are_stored_and_summarised(client: TestClient, context: Context) -> None:
    answer = send_dataset(client, data={"name": "reviews"})
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{dataset['id']}"
    assert dataset["name"] == "reviews"
    splits = dataset["summary"]["splits"]
    assert {name: split["rows"] for name, split in splits.items()} == {"train": 40, "validation": 20}
    label = next(column for column in splits["train"]["columns"] if column["name"] == "label")
    assert label["distinct"] == {"negative": 20, "positive": 20}
    assert client.get(answer.headers["location"]).json() == dataset
    assert len(stored(context.settings)) == 3


def test_one_file_is_dealt_out_by_seed(client: TestClient) -> None:
    def send(seed: int) -> list[str]:
        answer = client.post(
            "/v1/datasets",
            files=[("file", ("rows.csv", csv_rows(100)))],
            data={"split": '{"train": 0.8, "validation": 0.2}', "seed": str(seed)},
        )
        assert answer.status_code == 201, answer.text
        dataset = answer.json()
        assert dataset["summary"]["splits"]["validation"]["rows"] == 20
        url = f"/v1/datasets/{dataset['id']}/preview"
        rows = client.get(url, params={"split": "validation", "limit": 20}).json()["rows"]
        return [row["sentence"] for row in rows]

    assert send(1) == send(1) != send(2)


def test_the_preview_shows_the_first_rows(client: TestClient) -> None:
    id = send_dataset(client).json()["id"]
    preview = client.get(f"/v1/datasets/{id}/preview", params={"limit": 2}).json()
    assert preview == {
        "split": "train",
        "rows": [
            {"sentence": "a movie number 0", "label": "negative"},
            {"sentence": "a movie number 1", "label": "positive"},
        ],
    }
    absent = client.get(f"/v1/datasets/{id}/preview", params={"split": "test"})
    assert absent.status_code == 404


def test_a_deleted_dataset_is_gone_with_its_files(client: TestClient, context: Context) -> None:
    id = send_dataset(client).json()["id"]
    assert [dataset["id"] for dataset in client.get("/v1/datasets").json()["data"]] == [id]
    assert client.delete(f"/v1/datasets/{id}").status_code == 204
    assert client.get(f"/v1/datasets/{id}").status_code == 404
    assert stored(context.settings) == []


def train(name: str, content: bytes) -> Files:
    return [("train", (name, content))]


BAD_FILES: dict[str, tuple[Files, str, str]] = {
    "empty": (train("train.csv", b""), "empty_file", "train.csv"),
    "no rows": (train("train.csv", b"text,label\n"), "no_rows", "train.csv"),
    "not UTF-8": (train("train.csv", b"text,label\na\xff,b\n"), "not_utf8", "train.csv:2"),
    "columns": (
        train("train.csv", b"text,label\na,b\nc\n"),
        "wrong_number_of_columns",
        "train.csv:3",
    ),
    "format": (train("train.docx", b"text,label\n"), "unknown_format", "train.docx"),
    "no train": ([("validation", ("v.csv", csv_rows()))], "missing_train_file", "train"),
    "CoNLL": (train("train.conll", b"Ada\tO\nsleeps\n"), "wrong_number_of_columns", "train.conll:2"),
    "SQuAD": (train("train.json", b'{"data": [{}]}'), "not_squad", "train.json#/data/0/paragraphs"),
    "JSON lines": (
        train("train.jsonl", b'{"text": "a", "label": "b"}\n{"text"\n'),
        "invalid_json",
        "train.jsonl:2",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_rows_are_told_by_file_and_line_and_leave_nothing(shared_client: TestClient, case: str) -> None:
    files, code, pointer = BAD_FILES[case]
    answer = shared_client.post("/v1/datasets", files=files)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_dataset"
    assert (code, pointer) in [(item["code"], item["pointer"]) for item in problem["errors"]], problem
    assert stored(context_of(shared_client).settings) == []
    assert shared_client.get("/v1/datasets").json()["data"] == []


BAD_FIELDS: dict[str, tuple[Files, dict[str, str], str]] = {
    "ratios with splits": (dataset_files(), {"split": '{"train": 1}'}, "invalid_split"),
    "no ratios": ([("file", ("rows.csv", csv_rows()))], {}, "missing_field"),
    "ratios are no JSON": ([("file", ("rows.csv", csv_rows()))], {"split": "0.9"}, "invalid_split"),
    "ratios of unknown split": (
        [("file", ("rows.csv", csv_rows()))],
        {"split": '{"dev": 1}'},
        "invalid_split",
    ),
    "seed": (dataset_files(), {"seed": "many"}, "invalid_seed"),
    "name": (dataset_files(), {"name": "a\nb"}, "invalid_name"),
    "both": ([*dataset_files(), ("file", ("rows.csv", csv_rows()))], {}, "one_file_or_splits"),
    "twice": (dataset_files() * 2, {}, "duplicate_file"),
    "unknown": (dataset_files(), {"shuffle": "yes"}, "unexpected_field"),
}


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_bad_fields_are_refused(shared_client: TestClient, case: str) -> None:
    files, fields, code = BAD_FIELDS[case]
    answer = shared_client.post("/v1/datasets", files=files, data=fields)
    assert answer.status_code == 422, answer.text
    assert codes(answer) == [code]
    assert stored(context_of(shared_client).settings) == []


def test_ratios_that_do_not_sum_to_one_are_refused(shared_client: TestClient) -> None:
    ratios = json.dumps({"train": 0.5, "validation": 0.1})
    answer = shared_client.post(
        "/v1/datasets", files=[("file", ("rows.csv", csv_rows()))], data={"split": ratios}
    )
    assert codes(answer) == ["invalid_split"]


TAGGED = b"Ada\tB-per\nsleeps\tO\n\nBob\tB-per\n"


def test_sentences_of_tagged_words_are_shown_as_lists(client: TestClient) -> None:
    answer = client.post("/v1/datasets", files=train("train.conll", TAGGED))
    assert answer.status_code == 201, answer.text
    preview = client.get(f"/v1/datasets/{answer.json()['id']}/preview").json()
    assert preview["rows"][0] == {"tokens": ["Ada", "sleeps"], "tags": ["B-per", "O"]}
