"""Named as ENGINE in settings.DATABASES."""

from __future__ import annotations

import math
import select

from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus

from integrations.clients.clock import read_boot_clock

# A connection that was usable so long ago is asked. One whose server vanished without a word (a moved address, a
# firewall that forgot it) looks as one that is quiet.
ASKED_AFTER_SECONDS = 5.0
# Why some commands are refused where DatabaseWrapper.is_pooled.
POOLED = (
    "A connection pooler, as PgBouncer, stands between this command and PostgreSQL, and would mix its session with "
    "those of others. Name PostgreSQL's own address in DATABASE_DIRECT_URL."
)


class DatabaseWrapper(base.DatabaseWrapper):
    """See `is_usable`."""

    _usable_at = -math.inf

    def is_usable(self) -> bool:
        """Whether the connection can be used. Django wants to know before the first question of each request.

        Django's own asks `SELECT 1`, a round trip for each page. But a server that ends a connection says so: as long
        as nothing has arrived on one that was usable a moment ago, there is nothing to ask. After an error the server
        is asked, and in a transaction, which may be aborted.
        """
        if self.connection is None or self.connection.closed:
            return False
        now = read_boot_clock()
        is_recent = now - self._usable_at < ASKED_AFTER_SECONDS
        is_idle = self.connection.pgconn.transaction_status == TransactionStatus.IDLE
        is_quiet = is_recent and is_idle and not self.errors_occurred and not _has_arrived(self.connection.fileno())
        if not is_quiet and not super().is_usable():
            return False
        self._usable_at = now
        return True

    def connect(self) -> None:
        super().connect()
        self._usable_at = read_boot_clock()

    def is_pooled(self) -> bool:
        """Return whether a connection pooler as PgBouncer stands between: it gives process ids of its own."""
        with self.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return bool(cursor.fetchone()[0] != cursor.connection.info.backend_pid)


def _has_arrived(descriptor: int) -> bool:
    """Data, the end of the connection, or an error of it."""
    poll = select.poll()  # unlike select() it takes any descriptor
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
