"""Run source of subscriptions: a report over the data of its slot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from notifications.delivery.rendering import report_data
from notifications.delivery.rendering.errors import NotWorthSending, RenderingError
from notifications.delivery.rendering.report_contents import Contents, order_of, reason_to_skip
from notifications.delivery.rendering.report_data import Loaded
from notifications.models import MessageForm, Run
from notifications.sentences import Sentence
from notifications.sources import Audience, Terms
from notifications.subscriptions.recipients import audience_of

if TYPE_CHECKING:
    from integrations.models import Corp, SiteAddress
    from notifications.models import Subscription


@dataclass(frozen=True)
class SubscriptionSource:
    run: Run
    subscription: Subscription

    @property
    def terms(self) -> Terms:
        subscription = self.subscription
        return Terms(
            MessageForm(subscription.message_form),
            subscription.priority,
            subscription.lifetime_hours,
            subscription.report.corp_id,
            subscription.report.link,
        )

    def audience(self) -> Audience:
        return audience_of(self.run, self.subscription)

    def contents(self, *, now: datetime) -> Contents:
        """Raises RenderingError, NotWorthSending and DataPending."""
        loaded = self._loaded(now)
        if reason := reason_to_skip(self.run, self.subscription, loaded):
            raise NotWorthSending(reason)
        return Contents(self.subscription.report, loaded, order_of(self.subscription, self.run.slot_at))

    def app_body(self, corp: Corp, userids: list[str], *, address: SiteAddress, mark: str, now: datetime) -> None:
        """As its message form says."""

    def note_unreached(self, reason: str) -> None:
        """Its run says it."""

    def _loaded(self, now: datetime) -> Loaded:
        """The data of the run; none where its report has no cards."""
        has_cards: bool = self.run.has_cards  # type: ignore[attr-defined]  # annotated where rendering reads the run
        return report_data.load(self.run, self.subscription.report, now=now) if has_cards else Loaded([], {})


def source_of_subscription(run: Run) -> SubscriptionSource | None:
    """Raises RenderingError where the subscription is gone."""
    if run.trigger in {Run.Trigger.ALERT, Run.Trigger.NOTICE}:
        return None
    if run.subscription is None:
        raise RenderingError(Sentence("The subscription was deleted before its messages were made."))
    return SubscriptionSource(run, run.subscription)
