"""Buttons of an alert's card: the first click counts, everybody sees it, and people without rights are refused."""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from wecom_sandbox.limits.limits import Fault

from accounts.models import AuditEntry, User
from integrations import callbacks
from integrations.models import CallbackEvent, Corp
from notifications.models import AlertCard, Delivery, Incident, IncidentEvent, Run
from tests.notifications.admin.conftest import client_of
from tests.notifications.alerts.conftest import Duty, alert, list_used_codes
from tests.notifications.delivery.test_explanations import in_language
from tests.notifications.factories import NOW, make_superuser

pytestmark = pytest.mark.django_db
ACKNOWLEDGE, SILENCE = "alert-take", "alert-silence-1h"


@pytest.fixture(autouse=True)
def _first_alert(duty: Duty) -> None:
    duty.tell(alert())


def incident() -> Incident:
    return Incident.objects.get()


def test_taking_and_silence_show_on_every_phone(duty: Duty) -> None:
    duty.clock.advance(minutes=32)
    duty.press("LiLei", ACKNOWLEDGE)

    for userid in ("LiLei", "hanmeimei"):
        card = duty.card(userid)
        assert "09:32 李雷已认领" in card["sub_title_text"]
        assert [button["text"] for button in card["button_list"]] == ["静默 1 小时"]
    assert incident().acknowledged_by == duty.people["LiLei"]
    assert ("taken", "李雷") in duty.timeline()
    assert AuditEntry.objects.filter(note__contains="take").count() == 1

    duty.press("hanmeimei", SILENCE)

    assert incident().silenced_until == duty.clock.now + timedelta(hours=1)
    assert "静默至 10:32（韩梅梅）" in duty.card("LiLei")["sub_title_text"]
    assert duty.card("LiLei")["card_type"] == "text_notice"


def test_of_two_clicks_at_once_or_a_double_click_one_counts_and_a_code_is_left_for_the_end(duty: Duty) -> None:
    for userid in ("LiLei", "LiLei", "hanmeimei"):
        duty.click(userid, ACKNOWLEDGE)
    duty.hear(times=3)  # each event is delivered three times

    # All clicks are within one second and arrive together; WeCom decides which is first.
    [who] = [who for kind, who in duty.timeline() if kind == "taken"]
    assert incident().acknowledged_by in {duty.people["LiLei"], duty.people["hanmeimei"]}
    for userid in ("LiLei", "hanmeimei"):
        assert f"{who}已认领" in duty.card(userid)["sub_title_text"]
    assert CallbackEvent.objects.count() == 3
    duty.clock.advance(minutes=5)
    duty.tell(alert(ends=duty.clock.now))
    assert duty.card(position=0)["main_title"]["title"].startswith("[已恢复]")


@pytest.mark.parametrize("carries_rights", [False, True])
def test_a_superuser_may_by_a_click_what_a_sign_in_through_the_company_allows(
    duty: Duty, *, carries_rights: bool
) -> None:
    """Takes the person off duty, so that only their rights in the administration count."""
    person = duty.people["LiLei"]
    User.objects.filter(pk=person.pk).update(is_staff=True, is_superuser=True)
    Corp.objects.update(admin_rights_enabled=carries_rights)
    duty.channel.users.remove(person)

    duty.press("LiLei", ACKNOWLEDGE)

    assert incident().acknowledged_by == (person if carries_rights else None)


@pytest.mark.parametrize(
    "take_rights",
    [
        lambda duty, person: person.wecom_accounts.update(left_at=NOW, userid="", userid_folded=""),
        lambda duty, person: User.objects.filter(pk=person.pk).update(is_active=False),
        lambda duty, person: duty.channel.users.remove(person),
        lambda duty, person: duty.channel.delete(),
    ],
    ids=["left", "disabled", "off duty", "channel gone"],
)
def test_who_may_not_any_more_is_refused(duty: Duty, take_rights: Callable[[Duty, User], object]) -> None:
    take_rights(duty, duty.people["LiLei"])

    duty.click("LiLei", ACKNOWLEDGE)
    duty.press("LiLei", ACKNOWLEDGE)

    assert incident().acknowledged_by is None
    assert "taken" not in [kind for kind, _who in duty.timeline()]
    assert duty.timeline().count(("refused", "李雷")) == 1


def test_notes_of_the_timeline_are_in_the_readers_language(duty: Duty) -> None:
    """Older versions stored notes as plain text, like the last one here."""
    duty.channel.users.remove(duty.people["LiLei"])
    duty.press("LiLei", ACKNOWLEDGE)
    IncidentEvent.objects.create(incident=incident(), kind=IncidentEvent.Kind.CLOSED, at=duty.clock.now, note="老行")
    page = reverse("admin:notifications_incident_change", args=[incident().pk])

    for language, notes in (("zh-hans", ["预警", "按钮：认领", "老行"]), ("en", ["alert", "Button: Take", "老行"])):
        text = in_language(make_superuser(), language).get(page).content.decode()
        assert re.findall(r"<td>([^<]+)</td></tr>", text)[-len(notes) :] == notes


def forge_click(duty: Duty, userid: str, *, mark: str, code: str = "forged-code") -> None:
    """Store a callback event forged by somebody who holds the callback's keys."""
    body = (
        f"<xml><ToUserName>{duty.corp.corpid}</ToUserName><FromUserName>{userid}</FromUserName><CreateTime>"
        f"{int(NOW.timestamp())}</CreateTime><MsgType>event</MsgType><Event>template_card_event</Event>"
        f"<EventKey>{ACKNOWLEDGE}</EventKey><TaskId>{mark}</TaskId><ResponseCode>{code}</ResponseCode></xml>"
    )
    key = f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"
    event = CallbackEvent.objects.create(
        corp=duty.corp, kind="app", key=key, event="template_card_event", is_event=True,
        userid=userid, happened_at=NOW, received_at=NOW, body=body,
    )  # fmt: skip
    callbacks.assign_event(event, now=NOW)
    duty.work_off_events()


def test_a_forged_event_without_the_cards_mark_of_somebody_else_or_with_a_used_code_does_nothing(duty: Duty) -> None:
    for mark in ("", "0" * 32, "'; --"):
        forge_click(duty, "LiLei", mark=mark)
    duty.channel.users.add(duty.people["jim"])  # on duty now, but the card went to others
    for userid in ("jim", "nobody"):
        forge_click(duty, userid, mark=Delivery.objects.get().mark)
    duty.press("LiLei", SILENCE)
    assert [button["text"] for button in duty.card()["button_list"]] == ["认领"]
    [code] = list_used_codes()
    forge_click(duty, "LiLei", mark=Delivery.objects.get().mark, code=code)

    assert incident().acknowledged_by is None


def test_a_code_that_wecom_did_not_give_is_refused_there_and_another_used(duty: Duty) -> None:
    forge_click(duty, "LiLei", mark=Delivery.objects.get().mark)
    duty.work_off()
    duty.clock.advance(seconds=30)
    duty.work_off()

    assert AlertCard.objects.get().is_stale is False
    assert "李雷已认领" in duty.card("hanmeimei")["sub_title_text"]


@pytest.mark.parametrize("kind", ["close_before", "http_500", "busy"])
def test_a_change_that_fails_is_tried_again(duty: Duty, kind: str) -> None:
    duty.world.faults.add(Fault.from_json({"kind": kind, "endpoint": "message/update_template_card", "count": 1}))
    duty.press("LiLei", ACKNOWLEDGE)
    for _ in range(3):
        duty.clock.advance(seconds=30)
        duty.work_off()
    assert "李雷已认领" in duty.card("hanmeimei")["sub_title_text"]
    assert AlertCard.objects.get().is_stale is False


def test_a_storms_card_takes_all_of_it(duty: Duty) -> None:
    duty.clock.advance(minutes=5)
    duty.tell(*(alert(instance=f"db-{n}") for n in range(5)))
    duty.press("LiLei", ACKNOWLEDGE)

    assert Incident.objects.filter(acknowledged_by=duty.people["LiLei"]).count() == 5


class TestPage:
    @pytest.fixture(autouse=True)
    def _alert_now(self, duty: Duty, _first_alert: None) -> None:
        Incident.objects.all().delete()
        Run.objects.all().delete()
        duty.clock.now = timezone.now()
        duty.tell(alert(starts=duty.clock.now))

    def test_shows_the_alert_to_those_on_duty_and_takes_it(self, duty: Duty) -> None:
        path, client = f"/alerts/{incident().pk}/", client_of(duty.people["LiLei"])
        shown = client.get(path)
        assert shown.status_code == 200
        assert "DiskFull 磁盘快满了" in shown.content.decode()
        for action in ("", "resolve", "take;", "close"):
            assert client.post(f"{path}act/", {"action": action}).status_code == 400

        answer = client.post(f"{path}act/", {"action": "take"}, follow=True)

        assert "李雷已认领" in answer.content.decode()
        duty.clock.now = timezone.now()
        duty.work_off()
        assert "李雷已认领" in duty.card("hanmeimei")["sub_title_text"]
        other = client_of(duty.people["hanmeimei"])
        offered = ['value="take-over"' in one.get(path).content.decode() for one in (client, other)]
        assert offered == [False, True]
        other.post(f"{path}act/", {"action": "take-over"})
        assert incident().acknowledged_by == duty.people["hanmeimei"]

    def test_is_nothing_for_anybody_else_and_leads_to_the_sign_in_of_its_company(self, duty: Duty) -> None:
        path, client = f"/alerts/{incident().pk}/", client_of(duty.people["jim"])
        mark = Delivery.objects.get().mark

        assert client.get(path).status_code == 404
        assert client.post(f"{path}act/", {"action": "take"}).status_code == 404
        assert "DiskFull" not in client.get("/alerts/").content.decode()
        assert incident().acknowledged_by is None
        answer = Client(headers={"host": "localhost:3001"}).get(f"{path}?m={mark}")
        assert answer.headers["Location"] == f"/wecom/{duty.corp.pk}/start/?next=%2Falerts%2F{incident().pk}%2F"
