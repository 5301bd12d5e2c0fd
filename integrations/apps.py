from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class IntegrationsConfig(AppConfig):
    name = "integrations"
    verbose_name = _("System integration")

    def ready(self) -> None:
        # Why here? Importing the module is what registers its checks.
        from integrations import checks  # noqa: F401  # see above
