"""Session engine: the database, with Valkey as a cache (settings.SESSION_ENGINE).

Django's own store of this kind answers each request of a signed-in person with an error while the cache is away. This
one goes on with the database, so that administrators get in by password to see what is wrong.

Both hold a digest of each session's key, never the key that the browser's cookie holds: nobody takes over a session
with what a dump of the database or of Valkey, or a backup, shows.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from django.contrib.sessions.backends.base import VALID_KEY_CHARS, CreateError
from django.contrib.sessions.backends.cached_db import SessionStore as CachedStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import IntegrityError
from django.utils import timezone
from django.utils.crypto import get_random_string
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from django.contrib.sessions.base_session import AbstractBaseSession

logger = logging.getLogger(__name__)

_KEY_CHARACTERS = 32
# The column of Django's table has room for 40 characters.
_DIGEST_BYTES = 20


def stored_key(session_key: str) -> str:
    """Under which key database and Valkey keep the session of the browser whose cookie holds `session_key`.

    A plain digest will do: keys are random and long, so nobody can try them all.
    """
    return hashlib.blake2b(session_key.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def end(stored: str) -> None:
    """End the session kept under `stored`, wherever its browser is. Raises RedisError where a copy may be left."""
    CachedStore().delete(stored)


class _InsertingStore(DatabaseStore):
    """Inserts a session by one statement. Django puts a transaction around it, which costs two more round trips."""

    def save(self, must_create: bool = False) -> None:
        if not must_create or self.session_key is None:
            super().save(must_create)
            return
        row = self.create_model_instance(self._get_session(no_load=True))  # type: ignore[attr-defined]  # not in the stubs
        try:
            row.save(force_insert=True)
        except IntegrityError:
            raise CreateError from None


class SessionStore(CachedStore, _InsertingStore):
    """`delete` alone still raises RedisError: whoever ends another browser's session must know that a copy may be left.

    A session that its own browser leaves has no cookie any more: there a copy does no harm until its time is over.
    """

    _is_new = False  # the key is not in the database yet

    @property
    def cache_key(self) -> str:
        if self.session_key is None:
            self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]  # not in the stubs
        return f"{self.cache_key_prefix}{stored_key(str(self.session_key))}"

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        row: AbstractBaseSession = super().create_model_instance(data)
        row.session_key = stored_key(row.session_key)
        return row

    def _get_session_from_db(self) -> AbstractBaseSession | None:
        kept = self.model.objects.filter(session_key=stored_key(str(self.session_key)), expire_date__gt=timezone.now())
        row: AbstractBaseSession | None = kept.first()
        if row is None:
            self._session_key = None  # an unknown key is never taken over
        return row

    def load(self) -> dict[str, Any]:
        try:
            return super().load()
        except RedisError as error:
            _note(error)
            return DatabaseStore.load(self)

    def exists(self, session_key: str) -> bool:
        try:
            return bool(super().exists(stored_key(session_key)))
        except RedisError as error:
            _note(error)
            return bool(DatabaseStore.exists(self, stored_key(session_key)))

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

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            super().delete(stored_key(key))

    def flush(self) -> None:
        self.clear()
        try:
            self.delete()
        except RedisError as error:
            _note(error)
        self._session_key = None


def _note(error: RedisError) -> None:
    logger.error("sessions go on without their cache error=%s", type(error).__name__)
