"""SQuAD's own JSON, version 1 and 2: one row for each question."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compression.data.problems import ProblemLog
from compression.data.table import Record, Table, in_batches
from compression.errors import InputError
from compression.strict_json import read_json_object

MAX_BYTES = 100_000_000
COLUMNS = ["id", "question", "context", "answers", "answer_starts"]


class _Part(BaseModel):
    """Other keys than these are of no use here."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Answer(_Part):
    text: str
    answer_start: Annotated[int, Field(ge=0)]


class _Question(_Part):
    id: str = ""
    question: str
    answers: list[_Answer] = []
    is_impossible: bool = False


class _Paragraph(_Part):
    context: str
    qas: list[_Question]


class _Article(_Part):
    paragraphs: list[_Paragraph]


class _Squad(_Part):
    data: list[Any]


def read_squad(path: Path, log: ProblemLog) -> Table:
    """Questions with their contexts; the answers and where they begin are lists, empty where there is no answer."""
    try:
        articles = _Squad.model_validate(read_json_object(path, MAX_BYTES)).data
    except InputError as error:
        log.stop(error.code, error.problems[0].message, path.name)
    except ValidationError:
        log.stop("not_squad", 'a .json file must be in SQuAD\'s form, {"data": [...]}', path.name)
    if not articles:
        log.stop("no_rows", "the file has no articles", path.name)
    rows = in_batches(_questions(articles, path.name, log), COLUMNS, path.name, log)
    return Table(COLUMNS, rows, frozenset({"answers", "answer_starts"}))


def _questions(articles: list[Any], file: str, log: ProblemLog) -> Iterator[Record]:
    number = 0
    for index, content in enumerate(articles):
        try:
            article = _Article.model_validate(content)
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False)[0]
            place = "/".join(map(str, [f"{file}#/data", index, *detail["loc"]]))
            log.add("not_squad", detail["msg"], place)
            continue
        for paragraph in article.paragraphs:
            for question in paragraph.qas:
                number += 1
                place = f"{file}: question {question.id or number}"
                answers = [] if question.is_impossible else question.answers
                if not all(_stands_at(answer, paragraph.context) for answer in answers):
                    log.add(
                        "answer_not_in_context", "an answer is not at its answer_start in the context", place
                    )
                texts = tuple(answer.text for answer in answers)
                starts = tuple(str(answer.answer_start) for answer in answers)
                values = question.id, question.question, paragraph.context
                if any("\0" in value for value in (*values, *texts)):
                    log.add("nul_character", "the text holds a NUL character", place)
                yield number, (*values, texts, starts)


def _stands_at(answer: _Answer, context: str) -> bool:
    return bool(answer.text) and context.startswith(answer.text, answer.answer_start)
