"""Session engine: the database, with Valkey as a cache (settings.SESSION_ENGINE).

Django's own store of this kind answers each request of a signed-in person with an error while the cache is away. This
one goes on with the database, so that administrators get in by password to see what is wrong.

Both hold a digest of each session's key, never the key that the browser's cookie holds: nobody takes over a session
with what a dump of the database or of Valkey, or a backup, shows.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib.sessions.backends.base import VALID_KEY_CHARS, CreateError
from django.contrib.sessions.backends.cached_db import SessionStore as CachedStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import IntegrityError, connection
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


# By hand: Django takes several times as long to write such a statement as the database to do it.
_INSERT = "INSERT INTO django_session (session_key, session_data, expire_date) VALUES (%s, %s, %s)"


class _InsertingStore(DatabaseStore):
    """Inserts a session, and what is written beside it, by one statement. Django puts a transaction around its own,
    which costs two more round trips."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._beside: list[tuple[str, Sequence[Any]]] = []

    def write_beside(self, sql: str, values: Sequence[Any]) -> None:
        """Have an INSERT done when the session is saved under the key that it has now: with a new session as one
        statement, all or nothing; else after it.

        Nothing is left of it where the session is flushed, gets another key or is never saved, as after an error. No
        UPDATE: it would hold the lock of its row while the rest waits for others.
        """
        self._beside.append((sql, values))

    def save(self, must_create: bool = False) -> None:
        """Raises IntegrityError where what is written beside a new session cannot be, CreateError for a taken key."""
        if self.session_key is None:  # Django comes back with a key
            super().save(must_create)
            return
        beside = self._beside
        if must_create:
            row = self.create_model_instance(self._get_session(no_load=True))  # type: ignore[attr-defined]  # not in the stubs
            insert = (_INSERT, [row.session_key, row.session_data, row.expire_date])
            try:
                _write([*beside, insert])
            except IntegrityError:
                if beside:  # not the key: Django would try others for ever
                    raise
                raise CreateError from None
        else:
            super().save()
            _write(beside)
        self._beside = []


def _write(statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
    """Execute them as one statement: all or nothing."""
    if not statements:
        return
    *parts, last = (sql for sql, _values in statements)
    named = ", ".join(f"part_{number} AS ({sql})" for number, sql in enumerate(parts))
    values = [value for _sql, of_one in statements for value in of_one]
    with connection.cursor() as cursor:
        cursor.execute(f"WITH {named} {last}" if parts else last, values)


class SessionStore(CachedStore, _InsertingStore):
    """`delete` alone still raises RedisError: whoever ends another browser's session must know that a copy may be left.

    A session that its own browser leaves has no cookie any more: there a copy does no harm until its time is over.
    """

    _is_new = False  # the key is not in the database yet
    _is_copying = False  # it was read from the database, for a copy in the cache

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
        self._is_copying = row is not None
        return row

    def load(self) -> dict[str, Any]:
        self._is_copying = False
        try:
            data: dict[str, Any] = super().load()
            if not (self._is_copying and self._drop_if_ended()):
                return data
            self._session_key = None
            return {}
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
        self._beside = []
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
        is_new = must_create or self._is_new or self.session_key is None
        super().save(must_create or self._is_new)
        self._is_new = False
        if not is_new:
            try:
                self._drop_if_ended()
            except RedisError as error:
                _note(error)

    def _drop_if_ended(self) -> bool:
        """Whether somebody ended the session after its row was read or written here: where its copy was written after
        that, the session would go on with the copy."""
        if DatabaseStore.exists(self, stored_key(str(self.session_key))):
            return False
        self._cache.delete(self.cache_key)  # type: ignore[attr-defined]  # not in the stubs
        return True

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            super().delete(stored_key(key))

    def flush(self) -> None:
        self._beside = []
        self.clear()
        try:
            self.delete()
        except RedisError as error:
            _note(error)
        self._session_key = None


def _note(error: RedisError) -> None:
    logger.error("sessions go on without their cache error=%s", type(error).__name__)
