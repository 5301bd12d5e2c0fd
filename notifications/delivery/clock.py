"""The database's clock, used by the whole push engine."""

from datetime import timedelta

from integrations.core.clock import Clock, database_clock

__all__ = ["Clock", "database_clock"]


# --- How long a piece of work may be under way before another takes it over ---

# From handing a run out for rendering to handing it out again. Renewed while its messages are planned; while they are
# written the row is locked.
RENDER_LEASE = timedelta(seconds=20)
# From handing a delivery to a task to handing it to another, while none has tried it.
QUEUE_LEASE = timedelta(seconds=60)
# A sending task gives the rest back after so many seconds and the call that it is at: within QUEUE_LEASE, or another
# task would be given the same deliveries meanwhile (notifications.delivery.maintenance.checks), and within the broker's
# visibility timeout.
TASK_SECONDS = 30
# A worker that is asked to end waits so long for calls under way; a service manager usually kills after 10 seconds.
STOP_SECONDS = 7
