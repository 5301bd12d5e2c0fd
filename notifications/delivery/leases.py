"""How long a piece of work of the push engine may be under way before another takes it over."""

from datetime import timedelta

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
