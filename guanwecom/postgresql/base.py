"""Named as ENGINE in settings.DATABASES."""

from __future__ import annotations

import select

from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus


class DatabaseWrapper(base.DatabaseWrapper):
    """See `is_usable`."""

    def is_usable(self) -> bool:
        """Whether the connection can be used. Django wants to know before the first question of each request.

        Django's own asks `SELECT 1`, a round trip for each page. But a server that ends a connection says so: as long
        as nothing has arrived on it, there is nothing to ask. After an error the server is asked, and in a transaction,
        which may be aborted.
        """
        if self.connection is None or self.connection.closed:
            return False
        is_idle = self.connection.pgconn.transaction_status == TransactionStatus.IDLE
        if self.errors_occurred or not is_idle or _has_arrived(self.connection.fileno()):
            return super().is_usable()
        return True


def _has_arrived(descriptor: int) -> bool:
    """Data, the end of the connection, or an error of it."""
    poll = select.poll()  # unlike select() it takes any descriptor
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
