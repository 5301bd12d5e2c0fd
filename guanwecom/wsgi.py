"""The WSGI application: `gunicorn guanwecom.wsgi`."""

import atexit
import os

from django.core.wsgi import get_wsgi_application

from guanwecom.operations import startup

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guanwecom.settings")

startup.set_up()
django_application = get_wsgi_application()

from guanwecom.operations import middleware, worker  # noqa: E402  # models can be imported only after the apps are loaded

application = middleware.refuse_late(django_application)
atexit.register(worker.start_in_web().forget)
