from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed_apps
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


def ensure_default_site_address(*, apps: Any = installed_apps, **_signal: Any) -> None:
    """Save the initial site address unless there is a default one. `apps`: the state after the migration."""
    try:
        apps.get_model("integrations", "SiteAddress")
    except LookupError:  # migrated back to a version without site addresses
        return
    installed_apps.get_model("integrations", "SiteAddress").objects.default()


class IntegrationsConfig(AppConfig):
    name = "integrations"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = _("System integration")

    def ready(self) -> None:
        # Importing `checks` registers them; models can be imported only after all apps are loaded.
        from integrations.callbacks import consumers
        from integrations.core import checks  # noqa: F401  # see above
        from integrations.directory.events import DIRECTORY_CONSUMER

        consumers.register(DIRECTORY_CONSUMER)
        post_migrate.connect(ensure_default_site_address, sender=self, dispatch_uid="integrations.default_site_address")
