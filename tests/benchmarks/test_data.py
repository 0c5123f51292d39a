import json
from pathlib import Path

import pytest
import typer
from tokenizers import Tokenizer

from benchmarks.data import CUT_FOR_VALIDATION, Corpus, Task, read_corpus
from tests.checkpoints import make_tiny_checkpoint


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The raw files in their own forms: byte-order mark, double quotes, more columns than promised."""
    files = {
        "sst2/train.tsv": 'sentence\tlabel\nsays "good \t1\nbad \t0\n',
        "sst2/dev.tsv": "sentence\tlabel\nfine \t1\n",
        "sst2/stsa.binary.test": "0 an awful plot\n",
        "mrpc/msr_paraphrase_train.txt": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
        + "".join(f'1\t2\t3\tHe said "{i}.\tSaid he.\n' for i in range(CUT_FOR_VALIDATION[Task.MRPC] + 2)),
        "mrpc/msr_paraphrase_test.txt": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t2\t3\tA.\tB.\n",
        "stsb/sts-train.csv": "genre\tfile\tyear\t1\t4.500\tA man.\tA woman.\tlicence\tlicence\n",
        "stsb/sts-dev.csv": "genre\tfile\tyear\t1\t0\tA cat.\tA dog.\n",
        "stsb/sts-test.csv": "genre\tfile\tyear\t1\t5\tA cat.\tOne cat.\n",
    }
    for name, text in files.items():
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def test_rows_keep_their_quotes_and_lose_what_is_not_asked_for(shared: Path) -> None:
    sst2, mrpc, stsb = (read_corpus(task, shared) for task in (Task.SST2, Task.MRPC, Task.STSB))
    assert sst2.train == [('says "good', "1"), ("bad", "0")]
    assert sst2.test == [("an awful plot", "0")]
    assert len(mrpc.train) == 2
    assert len(mrpc.validation) == CUT_FOR_VALIDATION[Task.MRPC]
    assert mrpc.train[0] == ('He said "0.', "Said he.", "1")
    assert stsb.train == [("A man.", "A woman.", "4.500")]


def test_written_rows_have_a_header_and_no_quoting(shared: Path, tmp_path: Path) -> None:
    read_corpus(Task.SST2, shared).write(tmp_path / "out")
    assert (tmp_path / "out" / "train.tsv").read_text() == 'sentence\tlabel\nsays "good\t1\nbad\t0\n'


def test_words_and_questions_are_written_as_lists(tmp_path: Path) -> None:
    files = {
        "wnut17/wnut17train.conll": "The\tO\nRhine\tB-location\n\t\nYes\tO\n",
        "wnut17/emerging.dev.conll": "No\tO\n",
        "wnut17/emerging.test.annotated": "Oslo\tB-location\n",
        "squad/train-v1.1-part.json": squad(CUT_FOR_VALIDATION[Task.SQUAD] + 1),
        "squad/dev-v1.1-part.json": squad(2),
    }
    for name, text in files.items():
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    wnut, questions = (read_corpus(task, tmp_path) for task in (Task.WNUT17, Task.SQUAD))
    assert wnut.train == [(("The", "Rhine"), ("O", "B-location")), (("Yes",), ("O",))]
    assert wnut.test == [(("Oslo",), ("B-location",))]
    assert (len(questions.train), len(questions.test)) == (1, 2)
    wnut.write(tmp_path / "out")
    first = (tmp_path / "out" / "train.jsonl").read_text().splitlines()[0]
    assert json.loads(first) == {"tokens": ["The", "Rhine"], "tags": ["O", "B-location"]}


def squad(questions: int) -> str:
    answers = [{"text": "Rhine", "answer_start": 4}]
    asked = [{"id": str(i), "question": "What?", "answers": answers} for i in range(questions)]
    return json.dumps({"data": [{"paragraphs": [{"context": "The Rhine", "qas": asked}]}]})


def test_a_missing_folder_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="PLANKWRIGHT_SHARED"):
        read_corpus(Task.SST2, tmp_path)


def test_fewer_rows_are_the_same_rows_every_time() -> None:
    corpus = Corpus(("sentence", "label"), [(str(i), "0") for i in range(100)], [], [])
    assert corpus.with_train_rows(10) == corpus.with_train_rows(10)
    assert len(set(corpus.with_train_rows(10).train)) == 10
    with pytest.raises(typer.BadParameter, match="there are 100"):
        corpus.with_train_rows(101)


def test_filled_rows_reach_the_length_and_keep_to_one_label(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(make_tiny_checkpoint(tmp_path) / "tokenizer.json"))
    rows = [(("good " if i % 2 else "bad ") * (i % 7 + 1), str(i % 2)) for i in range(90)]
    filled = Corpus(("sentence", "label"), rows, [], []).filling(tokenizer, 16)
    assert {label for _, label in filled.train} == {"0", "1"}
    for text, label in filled.train:
        assert len(tokenizer.encode(text)) >= 16
        assert ("bad" in text) is (label == "0")
        assert ("good" in text) is (label == "1")
