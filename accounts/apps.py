from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("People")

    def ready(self) -> None:
        # Why here? Models can be imported only after all apps are loaded.
        from accounts.companies import disabling_stops
        from accounts.visibility import corps_of
        from integrations.panels import register_disable_effect
        from integrations.visibility import register_corp_filter

        register_corp_filter(corps_of)
        register_disable_effect(disabling_stops)
