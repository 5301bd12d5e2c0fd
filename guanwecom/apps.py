"""App configurations: the admin with our site class, and the operators' commands."""

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class AdminConfig(SimpleAdminConfig):
    """Configuration that does not load the admin's pages, since a worker needs them only to make links. guanwecom.urls
    loads them."""

    default_site = "guanwecom.admin.GuanwecomAdminSite"

    def ready(self) -> None:
        super().ready()
        # Models can be imported only after all apps are loaded.
        from accounts.audit.signals import track_model
        from notifications.models import OperatorContacts

        track_model(OperatorContacts, corps=lambda _contacts: [])


class GuanwecomConfig(AppConfig):
    """Configuration without models. `manage.py` finds guanwecom/management/commands through it."""

    name = "guanwecom"
