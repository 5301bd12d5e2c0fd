"""The WSGI application: `gunicorn guanwecom.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guanwecom.settings")

application = get_wsgi_application()
