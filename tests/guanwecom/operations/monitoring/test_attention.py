"""The overview's warnings: those of the alert rules, shown only to those who see all companies."""

from datetime import timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.conf import settings as configured
from django.db.models import F
from django.test import RequestFactory
from django.utils import timezone, translation
from pytest_django import Settings

from accounts.models import User
from guanwecom.operations import monitoring
from guanwecom.operations.monitoring import list_monitoring_attentions
from integrations.core import installation
from integrations.models import Installation, SiteAddress
from notifications.delivery.channels import make_company_scope
from notifications.delivery.limiter import Request, ask_gate
from notifications.models import Robot
from tests.audit import set_trail_time
from tests.notifications.factories import make_corp, make_manager, make_superuser

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _unread() -> None:
    monitoring.forget_secrets()


def sentences(person: User) -> list[tuple[str, str]]:
    request = RequestFactory().get("/admin/")
    request.user = person
    with translation.override("en"):
        return [(one.sentence, one.tone) for one in list_monitoring_attentions(request, [])]


def test_an_installation_without_a_backup_for_two_days() -> None:
    installation.load_installation()
    Installation.objects.update(confirmed_at=timezone.now() - timedelta(days=2, hours=1))
    assert sentences(make_superuser()) == [("No backup has been made for 2 days.", "bad")]
    Installation.objects.update(backed_up_at=timezone.now() - timedelta(days=1, hours=23))

    assert sentences(make_superuser()) == []


def test_certificates_that_end_soon() -> None:
    for host, left in (("a", timedelta(days=21, hours=1)), ("b", timedelta(days=20, hours=1)), ("c", -timedelta(1))):
        SiteAddress.objects.create(url=f"https://{host}.example.com/", certificate_ends_at=timezone.now() + left)

    assert sentences(make_superuser()) == [
        ("The certificate of b.example.com ends in 20 days.", "warn"),
        ("The certificate of c.example.com has ended.", "bad"),
    ]
    assert sentences(make_manager(make_corp())) == []


def test_secrets_that_are_old_limits_that_are_used_and_queues_that_are_long(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "TASKS_AT_MOST", 1)
    settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_COMPANY_PER_HOUR = 10, 0
    corp = make_corp(name="北山制造")
    Robot.objects.create(corp=corp, name="daily", key="0a1b2c3d")
    set_trail_time(timezone.now() - timedelta(days=366), model="notifications.robot")
    scopes = (make_company_scope(corp.corpid),)
    ask_gate(
        lambda gate: gate.acquire([Request(id=str(number), scopes=scopes, is_urgent=True) for number in range(10)])
    )
    for _ in range(2):
        current_app.send_task("nothing", queue="data")

    assert sentences(make_superuser()) == [
        ("1 stored secret has not been changed for a year.", "warn"),
        ("100 % of a limit of WeCom is used: calls a minute of 北山制造. Further calls wait.", "warn"),
        ("2 tasks wait in the queue “data”: add workers.", "bad"),
    ]


def test_the_numbers_are_those_of_the_rules() -> None:
    rules = (Path(configured.BASE_DIR) / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8")

    for part in (
        f"/ 86400 < {monitoring.CERTIFICATE_DAYS}\n",
        f"/ 86400 > {monitoring.SECRET_DAYS}\n",
        f"guanwecom_limit_used_ratio > {monitoring.LIMIT_SHARE}\n",
        f"guanwecom_queue_tasks > {monitoring.TASKS_AT_MOST}\n",
        f'guanwecom_work_waiting{{work!~"pictures|page_pictures"}} > {monitoring.WORK_AT_MOST}\n',
        f'guanwecom_work_waiting{{work=~"pictures|page_pictures"}} > {monitoring.PICTURES_AT_MOST}\n',
    ):
        assert part in rules


def test_a_failover_is_told_for_a_day() -> None:
    installation.is_copy()
    assert sentences(make_superuser()) == []

    # A promoted standby has the next timeline.
    Installation.objects.update(timeline=F("timeline") - 1)
    installation.is_copy()
    installation.is_copy()

    [(sentence, tone)] = sentences(make_superuser())
    assert sentence.startswith(f"The database failed over, noticed at {timezone.localtime():%Y-%m-%d}")
    assert tone == "warn"
    assert sentences(make_manager(make_corp())) == []
    Installation.objects.update(failed_over_at=F("failed_over_at") - timedelta(days=1))
    assert sentences(make_superuser()) == []
