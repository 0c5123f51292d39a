"""The form of ids and of the names that users give to things."""

from typing import Annotated

from pydantic import StringConstraints, TypeAdapter

_HEX = "[0-9a-f]{32}"
MODEL_ID_PATTERN = f"^mdl_{_HEX}$"
DATASET_ID_PATTERN = f"^ds_{_HEX}$"
JOB_ID_PATTERN = f"^job_{_HEX}$"
EXAMPLE_HEX = "01938f0e7c5b7d2f9a3c4b5d6e7f8091"

_FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
FILE_NAME_PATTERN = f"^{_FILE_NAME}$"
FILE_PATH_PATTERN = f"^({_FILE_NAME}/)?{_FILE_NAME}$"
"""Of a file that may lie in a folder."""

MAX_NAME = 200
Name = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$"
    ),
]
"""One line of text; it is shown, never used as a path."""

name_adapter: TypeAdapter[str] = TypeAdapter(Name)
