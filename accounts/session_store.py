"""Where sessions are kept: in the database, with Valkey in front of it (settings.SESSION_ENGINE).

Django's own store of this kind answers each request of a signed-in person with an error while the cache is away. This
one goes on with the database, so that administrators get in by password to see what is wrong.
"""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.sessions.backends.cached_db import SessionStore as CachedStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


class SessionStore(CachedStore):
    """`delete` alone still raises RedisError: whoever ends another browser's session must know that a copy may be left.

    A session that its own browser leaves has no cookie any more: there a copy does no harm until its time is over.
    """

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
        """Django deletes under the old key last."""
        try:
            super().cycle_key()
        except RedisError as error:
            _note(error)

    def flush(self) -> None:
        self.clear()
        try:
            self.delete()
        except RedisError as error:
            _note(error)
        self._session_key = None


def _note(error: RedisError) -> None:
    logger.error("sessions go on without their cache error=%s", type(error).__name__)
