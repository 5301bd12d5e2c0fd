"""The admin with our own site class (title, index), and the operators' commands."""

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class AdminConfig(SimpleAdminConfig):
    """Loads no pages: guanwecom.urls does. A worker needs none until it makes a link."""

    default_site = "guanwecom.admin.GuanwecomAdminSite"

    def ready(self) -> None:
        super().ready()
        # Imported here: models can be imported only after all apps are loaded.
        from accounts.audit.signals import track
        from guanwecom.operations import tasks  # noqa: F401  # connects itself to Celery's signals
        from notifications.models import OperatorContacts

        track(OperatorContacts, corps=lambda _contacts: [])


class GuanwecomConfig(AppConfig):
    """Has no models: through it `manage.py` finds guanwecom/management/commands."""

    name = "guanwecom"
