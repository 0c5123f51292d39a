"""Conditions of a request on the version of what it asks for (RFC 9110, section 13)."""

import re

_TAG = re.compile(r'\s*(?:W/)?("[^"]*")\s*(?:,|$)')


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has this version already."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in _TAG.findall(if_none_match)
