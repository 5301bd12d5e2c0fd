"""The orders of a round: to everyone, to one company, pictures, personal rows, groups and single people."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model

from accounts.models import Attribute, AttributeValue, User, fold_value
from integrations.models import Card, Corp, DataSource
from notifications.models import Channel, MessageForm, OwnRowsRule, Report, ReportCard, ReportChart, Robot, Subscription
from tools.demo.content import PLACES, SALES
from tools.demo.figures import REGIONS

PERSONAL_ORDERS = 8
# So many messages to one person are sent at once if Valkey's counts are lost: more than WeCom allows in a minute.
BURST = 34
_LASTS = timedelta(seconds=30)
_ALIAS = SALES.alias
_BODY = "平均 {{ sales.avg('销售额')|round(1) }}，共 {{ sales.count }} 行"


def card_of_the_bi() -> Card:
    """Create the card of the sandbox's BI that holds the sales by region."""
    source = DataSource.objects.create(name="观远", kind="guandata")
    page, card_id = PLACES[_ALIAS]
    question = {"bi_page_id": page, "bi_card_id": card_id, "units": SALES.units, "kinds": {"日期": "date"}}
    return Card.objects.create(source=source, name=SALES.card, **question)


def give_regions(people: list[User]) -> Attribute:
    """Give each person a region, so that a company's people get a few different contents."""
    region = Attribute.objects.create(key="chaos-region", name="区域")
    names = REGIONS[:3]
    values = [(person, names[number % len(names)]) for number, person in enumerate(people)]
    AttributeValue.objects.bulk_create(
        AttributeValue(user=person, attribute=region, value=value, folded=fold_value(value), position=0)
        for person, value in values
    )
    return region


class Orders:
    """Writes the orders of rounds to `corps`. `card` is split by rows of `region`."""

    def __init__(self, corps: list[Corp], people: list[User], card: Card, region: Attribute) -> None:
        self._corps, self._people, self._card, self._region = corps, people, card, region

    def of_round(self, number: int, slot: datetime, *, is_burst: bool) -> list[Subscription]:
        """Write the orders of a round, all due once at `slot`."""
        first, second, third = (self._corps[(number + turn) % len(self._corps)] for turn in range(3))
        orders = [
            self._order(f"轮{number} 全员", slot, to_everyone=True),
            self._order(f"轮{number} 一家", slot, corp=first, to_everyone=True),
            self._picture(f"轮{number} 图片", slot, second, number),
            self._own_rows(f"轮{number} 各自", slot, third),
            self._group(f"轮{number} 群", slot, first),
        ]
        for turn in range(PERSONAL_ORDERS):
            person = self._people[(number * PERSONAL_ORDERS + turn) % len(self._people)]
            orders.append(self.personal(f"轮{number} 个人{turn}", slot, person, priority=turn % 2))
        if is_burst:
            person = self._people[(number * 7 + 3) % len(self._people)]
            orders += [self.personal(f"轮{number} 连发{turn}", slot, person, priority=1) for turn in range(BURST)]
        Subscription.objects.filter(pk__in=[order.pk for order in orders]).update(next_run_at=slot)
        return orders

    def personal(self, title: str, slot: datetime, person: User, *, priority: int) -> Subscription:
        """Write an order to one person. It is not due."""
        order = self._order(title, slot, form=MessageForm.TEXT, priority=priority)
        order.users.add(person)
        return order

    def of_person(self, number: int) -> User:
        return self._people[number % len(self._people)]

    def _picture(self, title: str, slot: datetime, corp: Corp, number: int) -> Subscription:
        """Write an order of a picture: in turn alone (uploaded) and with words (linked to)."""
        order = self._order_of_data(title, slot, corp, MessageForm.IMAGE if number % 2 else MessageForm.NEWS)
        ReportChart.objects.create(report=order.report, alias=_ALIAS, kind="bar", title="销售额", x="区域", y="销售额")
        return order

    def _own_rows(self, title: str, slot: datetime, corp: Corp) -> Subscription:
        order = self._order_of_data(title, slot, corp, MessageForm.TEXT)
        OwnRowsRule.objects.create(report=order.report, alias=_ALIAS, column="区域", attribute=self._region)
        return order

    def _order_of_data(self, title: str, slot: datetime, corp: Corp, form: MessageForm) -> Subscription:
        order = self._order(title, slot, corp=corp, form=form, body=_BODY, is_template=True, to_everyone=True)
        ReportCard.objects.create(report=order.report, card=self._card, alias=_ALIAS, title="销售额")
        return order

    def _group(self, title: str, slot: datetime, corp: Corp) -> Subscription:
        robot = Robot.objects.get(corp=corp)
        return self._order(title, slot, corp=corp, form=MessageForm.TEXT, channel=Channel.ROBOT, robot=robot)

    def _order(
        self,
        title: str,
        slot: datetime,
        *,
        corp: Corp | None = None,
        form: MessageForm = MessageForm.TEXTCARD,
        body: str = "今天一切正常。",
        is_template: bool = False,
        **fields: Any,
    ) -> Subscription:
        report = Report.objects.create(title=title, body=body, corp=corp, is_template=is_template)
        validity = {"valid_from": slot, "valid_to": slot + _LASTS}
        return Subscription.objects.create(
            name=title, report=report, crontab="* * * * *", message_form=form, **validity, **fields
        )


def administrator() -> User:
    return get_user_model().objects.get(username="root")
