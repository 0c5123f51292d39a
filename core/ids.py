"""Ids: a prefix that names the kind, and a UUIDv7, so that they sort by the time of their making."""

from typing import Literal

import uuid_utils

Kind = Literal["mdl", "ds", "job", "key", "wrk"]


def new_id(kind: Kind) -> str:
    return f"{kind}_{uuid_utils.uuid7().hex}"
