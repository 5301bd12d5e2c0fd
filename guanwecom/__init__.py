"""Wiring only: settings, URLs, Celery. Imports the apps and is imported by none of them."""

from guanwecom.celery import app as celery_app

__all__ = ["celery_app"]
