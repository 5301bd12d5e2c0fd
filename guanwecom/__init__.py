"""Wiring only: settings, URLs, Celery. It imports the apps, and no app imports it."""

from guanwecom.celery import app as celery_app

__all__ = ["celery_app"]
