"""Where sessions are kept: in the database, with Valkey in front of it (settings.SESSION_ENGINE).

Django's own store of this kind answers each request of a signed-in person with an error while the cache is away. This
one goes on with the database, so that administrators get in by password to see what is wrong.
"""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.contrib.sessions.backends.cached_db import SessionStore as CachedStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils.crypto import get_random_string
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

_KEY_CHARACTERS = 32


class SessionStore(CachedStore):
    """`delete` alone still raises RedisError: whoever ends another browser's session must know that a copy may be left.

    A session that its own browser leaves has no cookie any more: there a copy does no harm until its time is over.
    """

    _is_new = False  # the key is not in the database yet

    def load(self) -> dict[str, Any]:
        try:
            return super().load()
        except RedisError as error:
            _note(error)
            return DatabaseStore.load(self)

    def exists(self, session_key: str) -> bool:
        try:
            return bool(super().exists(session_key))
        except RedisError as error:
            _note(error)
            return bool(DatabaseStore.exists(self, session_key))

    def cycle_key(self) -> None:
        """Another key for the same data, as at sign-in; the row under it is written when the session is saved.

        Django asks cache and database first whether its random key is taken, and then writes twice: once to keep the
        key, once at the end of the request. Here the one insert fails should a key ever come again.
        """
        old_key = self.session_key
        self._session_cache = dict(self.items())  # read under the old key
        self._session_key = get_random_string(_KEY_CHARACTERS, VALID_KEY_CHARS)
        self._is_new = self.modified = True
        if old_key:
            try:
                self.delete(old_key)
            except RedisError as error:
                _note(error)

    def save(self, must_create: bool = False) -> None:
        super().save(must_create or self._is_new)
        self._is_new = False

    def flush(self) -> None:
        self.clear()
        try:
            self.delete()
        except RedisError as error:
            _note(error)
        self._session_key = None


def _note(error: RedisError) -> None:
    logger.error("sessions go on without their cache error=%s", type(error).__name__)
