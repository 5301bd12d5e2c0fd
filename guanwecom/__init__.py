"""The wiring of the apps: settings, URLs, Celery. No app imports this package."""

from guanwecom.celery import app as celery_app

__all__ = ["celery_app"]
