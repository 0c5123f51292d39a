"""API keys: shown once, kept as a hash, found by their first characters."""

import hashlib
import hmac
import secrets
import time
from datetime import timedelta

from api.batching import Batched
from db.clock import database_now
from db.engine import Database
from db.models import ApiKey
from db.repositories import api_keys

PREFIX_LENGTH = len("pw_") + 8
"""The part of a key that is no secret; 256 - 48 random bits remain."""
TRUSTED_SECONDS = 5
"""A revoked key works for so long at most."""
MAX_TRUSTED = 10_000
TOUCH_AFTER = timedelta(minutes=1)


def create_key(database: Database, name: str) -> str:
    """Make a key and return it; nothing can show it again."""
    key = "pw_" + secrets.token_urlsafe(32)
    with database.transaction() as connection:
        api_keys.add(connection, name=name, prefix=key[:PREFIX_LENGTH], hash=_hash(key))
    return key


class KeyRing:
    """Tells whose key it is, and asks the database about the same key only every few seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._trusted: dict[str, tuple[str, float]] = {}
        """Id and end of trust by hash."""
        self._lookup = Batched(self._find)

    async def owner(self, key: str) -> str | None:
        """The id of a key that is known and not revoked."""
        digest = _hash(key)
        id, until = self._trusted.get(digest, (None, 0.0))
        if time.monotonic() < until:
            return id
        id = await self._lookup.get(key)
        if id is not None:
            if len(self._trusted) >= MAX_TRUSTED:
                self._trusted.clear()
            self._trusted[digest] = (id, time.monotonic() + TRUSTED_SECONDS)
        return id

    def _find(self, keys: list[str]) -> dict[str, str]:
        with self._database.reading() as connection:
            now = database_now(connection)
            rows = {key: api_keys.find_by_prefix(connection, key[:PREFIX_LENGTH]) for key in keys}
        known = {key: row for key, row in rows.items() if row and hmac.compare_digest(row.hash, _hash(key))}
        for row in known.values():
            if row.last_used_at is None or now - row.last_used_at > TOUCH_AFTER:
                self._touch(row)
        return {key: row.id for key, row in known.items()}

    def _touch(self, row: ApiKey) -> None:
        with self._database.transaction() as connection:
            api_keys.touch(connection, row.id)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
