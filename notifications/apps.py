from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = _("Subscriptions and pushes")

    def ready(self) -> None:
        # Why here? Importing the first registers its checks; models can be imported only after all apps are loaded.
        from accounts import navigation
        from accounts.attribute_uses import register_value_uses
        from accounts.directory.leaving import register_leaver_follower
        from accounts.moving import register_move_effect
        from integrations.card_data import register_follower
        from integrations.directory.followers import register_rename_follower
        from integrations.events.registry import register_consumer
        from integrations.panels import (
            register_attention,
            register_connection_listener,
            register_disable_effect,
            register_index_card,
            register_landing_page,
        )
        from notifications import checks  # noqa: F401  # see above
        from notifications.alerts.checking import follow
        from notifications.alerts.clicks import CLICKS_CONSUMER
        from notifications.alerts.orders import AlertSource
        from notifications.attribute_rules import rules_naming
        from notifications.blocking import probe_at_once
        from notifications.effects import disabling_holds_back, moving_leaves_behind
        from notifications.index_card import push_attentions, push_lines
        from notifications.limit_history import calls_until_now
        from notifications.limiter import register_history
        from notifications.models import Run
        from notifications.owner_notices import NoticeSource
        from notifications.rights import grant_to_roles, track_orders
        from notifications.sources import register_source
        from notifications.subscription_source import TRIGGERS, source_of_subscription
        from notifications.tasks import enqueue_waiting_runs
        from notifications.withdrawing import readdress, withdraw

        register_history(calls_until_now)
        register_source(TRIGGERS, source_of_subscription)
        register_source([Run.Trigger.ALERT], AlertSource)
        register_source([Run.Trigger.NOTICE], NoticeSource)
        register_consumer(CLICKS_CONSUMER)
        register_follower(follow)
        register_value_uses(rules_naming)
        register_follower(enqueue_waiting_runs)
        register_leaver_follower(withdraw)
        register_rename_follower(readdress)
        register_disable_effect(disabling_holds_back)
        register_connection_listener(probe_at_once)
        register_index_card(push_lines)
        register_attention(push_attentions)
        register_move_effect(moving_leaves_behind)
        # Why one? Sign-in leads to the messages anyway: a second entry for them would open the same page.
        register_landing_page(path="", label=_("Home"), in_menu=True)
        navigation.register_tab(url_name="home", label=_("Messages"), place=10)
        navigation.register_tab(url_name="alerts", label=_("Alerts"), place=15)
        navigation.register_tab(url_name="my-subscriptions", label=_("Subscriptions"), place=20)
        grant_to_roles()
        track_orders()
