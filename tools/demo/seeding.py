"""Write the demo's rows, and a seed for the sandbox with the same companies. Safe to repeat; never in production."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from accounts.models import Attribute, AttributeValue, DirectoryPolicy, User, WeComAccount, fold_userid, fold_value
from integrations import callbacks
from integrations.bi import ensure_connection
from integrations.companies import links
from integrations.companies.services import save_site_address
from integrations.core.client_factory import callback_crypto
from integrations.directory.sync import request_run
from integrations.models import CallbackEvent, Card, Corp, DataSource, SiteAddress, SyncRun
from integrations.models.companies import HomePage
from integrations.models.datasources import SourceKind
from notifications.alerts import conditions
from notifications.alerts.conditions import Aggregate, Comparison, Condition
from notifications.inbound.channels import FIRST_SCHEMES, make_digest
from notifications.models import (
    AlertRule,
    InboundChannel,
    MessageForm,
    OwnRowsRule,
    Report,
    ReportCard,
    ReportChart,
    Subscription,
)
from notifications.subscriptions.schedules import reschedule
from tools.demo import content, past
from tools.demo.content import OVERDUE, SALES, STOCK, STOCK_PAGE, DemoCompany, DemoReport, make_demo_companies
from tools.demo.figures import SHORT_STOCK_DAYS, SLOW_SALES, make_sales_rows, make_stock_rows

SLOW_RULE, SHORT_RULE = "日销售额偏低", "库存告急"
YESTERDAY = (("日期", ("昨天",)),)
SLOW = Condition(Aggregate.SUM, "销售额", Comparison.LESS, (str(SLOW_SALES),), YESTERDAY)
SHORT = Condition(Aggregate.LEAST, "可售天数", Comparison.LESS, (str(SHORT_STOCK_DAYS),), YESTERDAY)
# Time for which past alerts are written.
ALERT_PAST = timedelta(days=30)


def seed_alerts(corp: Corp, people: list[User], *, now: datetime) -> None:
    """Write two alert rules with their past: the first people of a company watch sales and stock. The stock has
    been short since yesterday, so its alert opens at the first check."""
    # The sandbox's seed contains our callback address and keys, so the address counts as verified.
    Corp.objects.filter(pk=corp.pk, callback_verified_at__isnull=True).update(callback_verified_at=now)
    today = now.astimezone(ZoneInfo(TIME_ZONE)).date()
    sales, stock = Counter[str](), dict[str, float]()
    for row in make_sales_rows(today):
        sales[row["日期"]] += row["销售额"]
    for row in make_stock_rows(today):
        stock[row["日期"]] = min(row["可售天数"], stock.get(row["日期"], row["可售天数"]))
    slow = {day: f"昨天 销售额 合计 {figure:,} 元" for day, figure in sales.items() if figure < SLOW_SALES}
    short = {day: f"昨天 可售天数 最小 {figure} 天" for day, figure in stock.items() if figure < SHORT_STOCK_DAYS}
    for name, demo, condition, texts in ((SLOW_RULE, SALES, SLOW, slow), (SHORT_RULE, STOCK, SHORT, short)):
        if AlertRule.objects.filter(name=name).exists():
            continue
        rule = AlertRule(name=name, corp=corp, card=_make_card(demo), owner=people[0], crontab="* * * * *")
        rule.conditions = conditions.write_conditions([condition])
        reschedule(rule, now=now)
        rule.save()
        rule.users.set(people)
        recent = {day: text for iso, text in texts.items() if today - (day := date.fromisoformat(iso)) < ALERT_PAST}
        past.seed_past_incidents(rule, days=recent, now=now)


MAIL_CHANNEL_NAME = "邮件（演示）"
# Public on purpose, like the demo's other password: the mail door listens on this machine only.
MAIL_USER, MAIL_PASSWORD = "demo", "guanwecom-demo"


def seed_mail(owner: User) -> None:
    """Write a mail channel, unless there is one."""
    scheme = FIRST_SCHEMES[InboundChannel.Kind.MAIL]
    InboundChannel.objects.get_or_create(
        public_id=MAIL_USER,
        defaults={
            "name": MAIL_CHANNEL_NAME,
            "kind": InboundChannel.Kind.MAIL,
            "scheme": scheme,
            "digest": make_digest(MAIL_PASSWORD),
            "owner": owner,
            "is_enabled": True,
        },
    )


ADMIN = "admin"
# Public on purpose: the demo listens on this machine only, and the command refuses production.
PASSWORD = "guanwecom-demo"  # noqa: S105  # see above
OFTEN, WEEKLY, OWN_ROWS = "销售日报", "库存周报", "逾期应收提醒"
SOURCE, REGION = "观远（演示）", "demo-region"
TIME_ZONE = "Asia/Shanghai"
# Crontabs of "every other minute": the seeding picks the one that is due next minute.
EVERY_OTHER_MINUTE = ("*/2 * * * *", "1-59/2 * * * *")


@dataclass(frozen=True)
class DemoAccess:
    """Addresses, names and passwords for trying the demo."""

    admin_username: str
    employee_username: str
    employee_name: str
    password: str
    companies: list[Corp]
    people_count: int


@transaction.atomic
def seed_database(*, web_address: str, sandbox_address: str, now: datetime) -> DemoAccess:
    """Write missing rows. Rows changed by a person stay, except for addresses and the frequent schedule. `web_address`:
    scheme, host and port of this site with a slash at the end; `sandbox_address`: without one."""
    address = SiteAddress.objects.default()
    if address.url != web_address:
        address.url = web_address
        save_site_address(address=address)
    companies = make_demo_companies()
    corps = [_make_corp(company, sandbox_address, now) for company in companies]
    for corp in corps:
        # With callback keys, a policy and a first synchronisation, a leaver in the sandbox is shut out at once.
        for kind in CallbackEvent.Kind:
            if not callbacks.has_callback_keys(corp=corp, kind=kind):
                callbacks.generate_callback_keys(corp=corp, kind=kind)
        DirectoryPolicy.objects.get_or_create(corp=corp, defaults={"mode": DirectoryPolicy.Mode.CREATE})
        if not SyncRun.objects.filter(corp=corp).exists():
            request_run(corp=corp, trigger=SyncRun.Trigger.MANUAL, now=now)
    users = [user for company, corp in zip(companies, corps, strict=True) for user in _make_people(company, corp)]
    admin, employee = _set_passwords(users)
    content.connect_bi(sandbox_address=sandbox_address, now=now)
    region = _make_regions(companies, users)
    often = EVERY_OTHER_MINUTE[(now + timedelta(minutes=1)).minute % 2]
    _make_subscription(OFTEN, SALES, MessageForm.NEWS, often, admin, region, now)
    _make_subscription(WEEKLY, STOCK, MessageForm.MARKDOWN, "0 9 * * 1", admin, region, now)
    _make_subscription(OWN_ROWS, OVERDUE, MessageForm.TEXT, "*/5 * * * *", admin, region, now)
    seed_alerts(corps[0], users[:4], now=now)
    seed_mail(admin)
    return DemoAccess(admin.username, employee.username, employee.name, PASSWORD, corps, len(users))


def make_sandbox_seed(corps: list[Corp], *, now: datetime) -> dict[str, Any]:
    """Return the companies for `python -m wecom_sandbox --seed`, each app set up as in WeCom's console, and a BI with
    figures up to yesterday."""
    by_corpid = {corp.corpid: corp for corp in corps}
    companies = [_make_sandbox_company(company, by_corpid[company.corpid]) for company in make_demo_companies()]
    return {
        "companies": companies,
        "bi": content.make_bi_seed(ensure_connection(), corps, today=now.astimezone(ZoneInfo(TIME_ZONE)).date()),
    }


def _make_corp(company: DemoCompany, sandbox_address: str, now: datetime) -> Corp:
    addresses = dict.fromkeys(("api_base_url", "authorize_base_url", "qr_base_url"), sandbox_address)
    first = {"name": company.name, "secret": secrets.token_urlsafe(32), "is_enabled": True, "first_enabled_at": now}
    if company.home_bi_page:
        first |= {"home_page": HomePage.BI, "home_bi_page": company.home_bi_page}
    corp, _is_new = Corp.objects.update_or_create(
        corpid=company.corpid, agentid=company.agentid, defaults=addresses, create_defaults=first | addresses
    )
    return corp


def _make_people(company: DemoCompany, corp: Corp) -> list[User]:
    """Return the company's people as users, each linked to its account. A person who left after the first start stays
    a user without a link."""
    accounts = WeComAccount.objects.filter(corp=corp, userid_folded__in=_fold_userids(company))
    linked = {account.userid_folded: account.user for account in accounts.select_related("user")}
    unlinked = User.objects.filter(username__in=_fold_userids(company)).exclude(username__in=linked)
    linked |= {user.username: user for user in unlinked}
    missing = [person for person in company.people if fold_userid(person.userid) not in linked]
    new = {
        fold_userid(person.userid): User(username=fold_userid(person.userid), name=person.name) for person in missing
    }
    for user in new.values():
        user.set_unusable_password()
    User.objects.bulk_create(new.values())
    WeComAccount.objects.bulk_create(
        WeComAccount(user=new[folded], corp=corp, userid=person.userid, userid_folded=folded)
        for person in missing
        for folded in [fold_userid(person.userid)]
    )
    linked |= new
    return [linked[folded] for folded in _fold_userids(company)]


def _fold_userids(company: DemoCompany) -> list[str]:
    return [fold_userid(person.userid) for person in company.people]


def _set_passwords(users: list[User]) -> tuple[User, User]:
    """Make the first person an administrator, and give the first two a password."""
    admin, employee = users[:2]
    if not admin.is_superuser:
        admin.is_staff = admin.is_superuser = True
        if not User.objects.filter(username=ADMIN).exists():
            admin.username = ADMIN
        admin.set_password(PASSWORD)
        admin.save(update_fields=["username", "is_staff", "is_superuser", "password"])
    if not employee.has_usable_password():
        employee.set_password(PASSWORD)
        employee.save(update_fields=["password"])
    return admin, employee


def _make_regions(companies: list[DemoCompany], users: list[User]) -> Attribute:
    """Return an attribute with people's regions. People of offices without a region have no value, and so no rows."""
    region, is_new = Attribute.objects.get_or_create(key=REGION, defaults={"name": "区域", "is_many_valued": True})
    if is_new:
        people = [person for company in companies for person in company.people]
        AttributeValue.objects.bulk_create(
            AttributeValue(user=user, attribute=region, value=value, folded=fold_value(value), position=position)
            for user, person in zip(users, people, strict=True)
            for position, value in enumerate(person.regions)
        )
    return region


def _make_card(demo: DemoReport) -> Card:
    source, _is_new = DataSource.objects.get_or_create(name=SOURCE, defaults={"kind": SourceKind.GUANDATA})
    page, card_id = content.PLACES[demo.alias]
    question = {"bi_page_id": page, "bi_card_id": card_id, "units": demo.units, "kinds": {"日期": "date"}}
    return Card.objects.get_or_create(source=source, name=demo.card, defaults=question)[0]


def _make_report(demo: DemoReport, region: Attribute, owner: User) -> Report:
    report = Report.objects.create(title=demo.title, body=demo.body, figures=demo.figures, is_template=True)
    ReportCard.objects.create(report=report, card=_make_card(demo), alias=demo.alias, title=demo.heading)
    if demo.chart:
        ReportChart.objects.create(report=report, alias=demo.alias, **demo.chart)
    if demo.own_column:
        OwnRowsRule.objects.create(report=report, alias=demo.alias, column=demo.own_column, attribute=region)
    if demo is STOCK:
        # One picture for all, as the owner sees the page.
        report.picture_bi_id, report.picture_name, report.picture_shown_as = STOCK_PAGE, demo.heading, owner
        report.save()
    return report


def _make_subscription(
    name: str, demo: DemoReport, form: MessageForm, crontab: str, owner: User, region: Attribute, now: datetime
) -> Subscription:
    """Return the subscription of this name. Its frequent schedule is moved, so that a restarted demo sends soon."""
    existing = Subscription.objects.filter(name=name).first()
    is_new = existing is None
    if existing is None:
        report = _make_report(demo, region, owner)
        subscription = Subscription(
            name=name, report=report, owner=owner, message_form=form, time_zone=TIME_ZONE, to_everyone=True
        )
        subscription.crontab = crontab
    elif re.sub(r"\s+", " ", existing.crontab) in EVERY_OTHER_MINUTE:
        subscription = existing
        subscription.crontab = crontab
    else:
        return existing
    reschedule(subscription, now=now)
    subscription.save()
    if is_new and demo is not OVERDUE:
        weekdays = range(1) if demo is STOCK else range(7)
        past.seed_past_runs(subscription, text=demo.heading, weekdays=weekdays, now=now)
    return subscription


def _make_sandbox_company(company: DemoCompany, corp: Corp) -> dict[str, Any]:
    domain = links.find_trusted_domain(corp)
    app = {
        "agentid": corp.agentid,
        "name": "观远 BI",
        "secret": corp.secret,
        "home_url": links.build_home_page_link(corp),
        "trusted_domain": domain,
        "callback_domain": domain,
        "scope": {"partyids": [1]},
        "callback": _make_sandbox_callback(corp, CallbackEvent.Kind.APP),
    }
    return {
        "corpid": corp.corpid,
        "name": corp.name,
        "contacts_callback": _make_sandbox_callback(corp, CallbackEvent.Kind.CONTACTS),
        "departments": [{"id": id_, "name": name, "parentid": parent} for id_, name, parent in company.departments],
        "members": [
            {"userid": one.userid, "name": one.name, "department": one.department_ids, "position": one.position}
            for one in company.people
        ],
        "apps": [app],
    }


def _make_sandbox_callback(corp: Corp, kind: CallbackEvent.Kind) -> dict[str, str]:
    """Return one callback address as in WeCom's console."""
    crypto = callback_crypto(corp, kind)
    if crypto is None:
        return {}
    return {"url": callbacks.build_callback_url(corp, kind), "token": crypto.token, "aes_key": crypto.encoding_aes_key}
