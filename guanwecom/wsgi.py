"""The WSGI application: `gunicorn guanwecom.wsgi`."""

import atexit
import os

from django.core.wsgi import get_wsgi_application

from guanwecom.operations import startup

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guanwecom.settings")

startup.set_up_process()
django_application = get_wsgi_application()

# Models can be imported only after the apps are loaded.
from guanwecom.operations.middleware import LateRequestMiddleware  # noqa: E402
from guanwecom.operations.worker import HeartbeatThread  # noqa: E402
from integrations.models import Heartbeat  # noqa: E402

application = LateRequestMiddleware(django_application)
heartbeat = HeartbeatThread(Heartbeat.Kind.WEB, lambda: (), watches=True)
heartbeat.start()
atexit.register(heartbeat.stop_and_delete_row)
