from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = _("Subscriptions and pushes")

    def ready(self) -> None:
        from notifications.beat import ensure_tick_entry  # models exist only now

        post_migrate.connect(ensure_tick_entry, sender=self, dispatch_uid="notifications.tick_entry")
