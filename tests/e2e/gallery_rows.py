"""What the pages of tests/e2e/gallery_pages.py show: companies, messages and subscriptions. All names are invented."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from accounts.models import User
from integrations.models import Corp
from notifications.models import Delivery, Receipt, Report, Subscription, SubscriptionChoice

MARKDOWN = """## 华东区 11 月 24 日
**销售额** 128.4 万元,<font color="info">较昨日 +3.2%</font>
<font color="warning">退货率 4.1%,高于 3% 的警戒线</font>
> 门店 `SH-017` 连续三天低于目标
[查看门店明细](https://bi.example.com/page/stores)"""
REPORT = """销售额 128.4 万元,较昨日 +3.2%。

华东 61.2 万元,华北 40.7 万元,华南 26.5 万元。
退货率 4.1%,高于 3% 的警戒线,主要来自门店 SH-017。"""


def more_companies(count: int) -> None:
    names = (
        *("海川贸易", "东岭物流", "西湖食品", "云杉软件", "白鹿家居", "青石建材", "长风汽车", "海棠服饰"),
        *("金桥电子", "红叶传媒", "松江纺织", "临港仓储科技有限公司华东区域运营中心"),
    )
    for number in range(count):
        Corp.objects.create(
            name=names[number], corpid=f"ww{number:016x}", agentid=1000100 + number, secret="s", is_enabled=True
        )


def make_messages(person: User) -> None:
    make_message(person, "text", "华东区门店日报", REPORT)
    make_message(person, "markdown", "退货率预警:连续三天高于 3%", MARKDOWN)
    read = make_message(person, "textcard", "每周经营分析(第 47 周)", "本周销售额 842 万元,完成目标的 96%。")
    Receipt.objects.filter(delivery=read).update(read_at=timezone.now())


def make_message(person: User, form: str, title: str, text: str, link: str = "") -> Delivery:
    first = Delivery.objects.order_by("pk")[0]
    fields = {"message_form": form, "title": title, "text": text, "link": link, "settled_at": timezone.now()}
    for name in ("run", "channel", "corpid", "agentid", "language", "body", "recipient_count", "status", "corp"):
        fields.setdefault(name, getattr(first, name))
    times = {"created_at": timezone.now(), "next_attempt_at": timezone.now(), "expires_at": timezone.now()}
    row = Delivery.objects.create(**fields, **times)
    Receipt.objects.create(
        run=first.run, delivery=row, user=person, channel="wecom", address=f"{row.pk}:{person.username}"
    )
    return row


def make_subscriptions(person: User) -> None:
    for number, (title, kind) in enumerate((("门店日报", ""), ("退货率周报", "paused"), ("库存周转月报", "declined"))):
        report = Report.objects.create(title=title, body="x")
        one = Subscription.objects.create(
            name=title, report=report, crontab="0 9 * * *", next_run_at=timezone.now() + timedelta(days=number + 1)
        )
        one.users.add(person)
        if kind:
            SubscriptionChoice.objects.create(user=person, subscription=one, kind=kind, chosen_at=timezone.now())
