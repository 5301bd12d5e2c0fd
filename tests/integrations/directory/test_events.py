"""Events of WeCom that update the copy: sent by the sandbox, received by us, processed by workers, told on pages."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from pytest_django import Settings

from accounts.models import AuditEntry, DirectoryPolicy
from integrations.directory import departments, events
from integrations.directory.events import ReceptionState, describe_reception
from integrations.directory.sync import request_run
from integrations.jobs.runner import JobRun
from integrations.models import CallbackEvent, Corp, Member, SyncRun
from tests.integrations.directory.place import Directory
from tests.integrations.directory.wecom_events import WeComEvents
from tests.jobs import process_due_events
from tests.sandbox_process import CORPID

Presence, Status = Member.Presence, CallbackEvent.Status


def no_write(wecom_events: WeComEvents) -> list[tuple[object, ...]]:
    """Return everything that is stored of the directory."""
    return [*Member.objects.order_by("pk").values_list(), *wecom_events.place.stored_departments().items()]


def test_a_change_costs_a_call_for_each_person_and_no_list(wecom_events: WeComEvents) -> None:
    """Read no list, because departments cannot have changed if nobody enters or leaves the scope."""
    wecom_events.place.put_members({"userid": "jim", "department": [3]}, {"userid": "LiLei", "name": "李磊"})
    wecom_events.hear()

    assert wecom_events.place.calls() == {"user/get": 2}
    assert wecom_events.place.stored()["lilei"][1] == "李磊"


def test_somebody_who_comes_back_after_being_deleted_waits(wecom_events: WeComEvents) -> None:
    wecom_events.place.delete_member("LiLei")
    wecom_events.hear()
    wecom_events.place.put_members({"userid": "LiLei", "name": "另一个人", "department": [2]})
    wecom_events.hear()

    member = wecom_events.place.member("LiLei")
    assert (member.presence, member.waits_since is not None) == (Presence.IN_SCOPE, True)


def test_leaving_and_entering_the_scope(wecom_events: WeComEvents) -> None:
    """Use subscribe and unsubscribe, which only the app's address gets."""
    wecom_events.place.set_scope(partyids=[2])
    wecom_events.hear()
    assert wecom_events.place.member("jim").presence == Presence.OUT_OF_SCOPE
    assert wecom_events.place.member("hanmeimei").presence == Presence.IN_SCOPE

    wecom_events.place.set_scope(partyids=[1])
    wecom_events.hear()
    assert wecom_events.place.member("jim").presence == Presence.IN_SCOPE
    assert wecom_events.place.stored() == wecom_events.place.theirs()
    assert wecom_events.place.stored_departments() == wecom_events.place.their_departments()


@pytest.mark.parametrize(
    ("scope", "tag", "presence_of_jim", "runs"),
    [
        ({"partyids": [2], "tagids": [1]}, {"userids": ["LiLei", "jim"], "partyids": [3]}, Presence.IN_SCOPE, 0),
        ({"partyids": [2], "tagids": []}, {"userids": ["jim"], "partyids": [3]}, Presence.OUT_OF_SCOPE, 0),
        ({"partyids": [1], "tagids": [1]}, {"userids": [], "partyids": [4]}, Presence.IN_SCOPE, 1),
    ],
)
def test_a_tag_brings_people_where_the_scope_names_it_and_departments_ask_for_a_run(
    wecom_events: WeComEvents, scope: dict[str, list[int]], tag: dict[str, object], presence_of_jim: str, runs: int
) -> None:
    place = wecom_events.place
    place.set_scope(**scope)
    wecom_events.hear()
    place.sandbox.control("POST", f"companies/{CORPID}/tags", [{"tagid": 1, "tagname": "值班", **tag}])
    told = [one for one in wecom_events.heard() if one.address == "contacts-events"]
    place.calls()

    wecom_events.send(*told)
    wecom_events.work_off()

    assert place.member("jim").presence == presence_of_jim
    assert SyncRun.objects.filter(trigger=SyncRun.Trigger.EVENT, status=SyncRun.Status.WAITING).count() == runs
    if not scope["tagids"]:
        assert place.calls() == {"agent/get": 1}


def test_a_person_in_a_department_that_was_not_told_of(wecom_events: WeComEvents, place: Directory) -> None:
    place.put_departments({"id": 5, "name": "研发部", "parentid": 1})
    wecom_events.heard()  # and lost
    place.put_members({"userid": "jim", "department": [5]})
    wecom_events.hear()

    assert place.stored() == place.theirs()
    assert place.stored_departments() == place.their_departments()


def test_a_department_moved_out_of_the_scope_takes_its_people_along(
    wecom_events: WeComEvents, place: Directory, settings: Settings
) -> None:
    settings.DIRECTORY_GUARD_PERCENT = 100
    place.set_scope(partyids=[2])
    wecom_events.hear()
    assert set(place.stored()) == {"lilei", "hanmeimei"}

    place.put_departments({"id": 3, "parentid": 1})
    heard = [one for one in wecom_events.heard() if one.address == "contacts-events"]
    wecom_events.send(*heard)  # update_party alone
    wecom_events.work_off()
    assert set(place.stored()) == {"lilei"}

    place.put_departments({"id": 3, "parentid": 2})
    heard = [one for one in wecom_events.heard() if one.address == "contacts-events"]
    wecom_events.send(*heard)
    wecom_events.work_off()
    assert set(place.stored()) == {"lilei", "hanmeimei"}


def test_only_people_of_the_department_roots_are_copied(wecom_events: WeComEvents) -> None:
    place = wecom_events.place.with_roots(2)
    place.sync_saying_yes()
    place.put_members({"userid": "wang", "name": "王", "department": [4]}, {"userid": "LiLei", "department": [4]})
    wecom_events.hear()

    assert not Member.objects.filter(userid_folded="wang").exists()
    assert wecom_events.place.member("LiLei").presence == Presence.OUT_OF_SCOPE


def test_with_the_contacts_secret_departments_outside_the_scope_are_known(wecom_events: WeComEvents) -> None:
    place = wecom_events.place.with_contacts()
    place.set_scope(partyids=[2])
    wecom_events.hear()
    place.sync_saying_yes()
    place.put_members({"userid": "LiLei", "department": [2, 4]}, {"userid": "wang", "name": "王", "department": [4]})
    wecom_events.hear()

    assert place.stored()["lilei"][3] == frozenset({2, 4})
    assert "wang" not in place.stored()


def test_a_repeat_an_hour_later_changes_nothing(wecom_events: WeComEvents) -> None:
    wecom_events.place.delete_member("LiLei")
    heard = wecom_events.heard()
    wecom_events.send(*heard)
    wecom_events.work_off()
    stored, count = no_write(wecom_events), CallbackEvent.objects.count()
    wecom_events.place.calls()
    wecom_events.clock.now += timedelta(hours=1)

    wecom_events.send(*heard)
    wecom_events.work_off()

    assert (no_write(wecom_events), CallbackEvent.objects.count()) == (stored, count)
    assert wecom_events.place.calls() == {}


def test_events_during_a_run_are_worked_off_again_after_it(wecom_events: WeComEvents, place: Directory) -> None:
    """Read the leaver again, who left after the run had read the directory."""
    run = request_run(corp=place.corp, trigger=SyncRun.Trigger.NIGHTLY, now=wecom_events.clock())
    SyncRun.objects.filter(pk=run.pk).update(status=SyncRun.Status.RUNNING)
    place.delete_member("LiLei")
    wecom_events.send(*wecom_events.heard())

    process_due_events(wecom_events.clock)
    assert place.member("LiLei").presence == Presence.DELETED
    assert set(CallbackEvent.objects.filter(consumer=events.CONSUMER_NAME).values_list("status", flat=True)) == {
        Status.WAITING
    }

    # As if the run had overwritten it in between.
    Member.objects.filter(userid_folded="lilei").update(presence=Presence.IN_SCOPE, left_at=None)
    SyncRun.objects.filter(pk=run.pk).update(status=SyncRun.Status.DONE, finished_at=wecom_events.clock())
    wecom_events.work_off()
    assert place.member("LiLei").presence == Presence.DELETED


def test_a_run_leaves_alone_whom_an_event_has_changed_since_it_began(
    wecom_events: WeComEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep somebody as gone who left between the run's reading and its writing."""
    place, clock, report = wecom_events.place, wecom_events.clock, JobRun.report_progress
    run = place.request()

    def report_and_leave(job: JobRun, done: int, total: int) -> None:
        report(job, done, total)
        if not total and SyncRun.objects.filter(pk=run.pk, phase="members").exists():  # it compares next
            gone = {"presence": Presence.DELETED, "left_at": clock(), "changed_at": clock()}
            Member.objects.filter(userid_folded="lilei").update(**gone, name="old")

    monkeypatch.setattr(JobRun, "report_progress", report_and_leave)
    place.carry_on(run)

    member = place.member("LiLei")
    assert (member.name, member.presence, member.waits_since) == ("old", Presence.DELETED, None)


@pytest.mark.parametrize("why", ["disabled", "never copied"])
def test_a_company_whose_directory_is_not_in_use(wecom_events: WeComEvents, why: str) -> None:
    if why == "disabled":
        Corp.objects.update(is_enabled=False)
    else:
        SyncRun.objects.all().delete()
    stored = no_write(wecom_events)
    wecom_events.place.delete_member("LiLei")
    wecom_events.hear()

    assert no_write(wecom_events) == stored
    assert wecom_events.place.calls() == {}
    assert set(CallbackEvent.objects.exclude(consumer="").values_list("status", flat=True)) == {Status.DONE}


def test_more_leavers_than_may_go_unasked_become_a_run_that_asks(
    wecom_events: WeComEvents, place: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departments, "UNASKED_AT_LEAST", 1)
    place.set_scope(partyids=[3])  # LiLei and jim leave the scope
    wecom_events.hear()

    assert set(place.stored()) == {"lilei", "hanmeimei", "jim"}
    (run,) = SyncRun.objects.filter(trigger=SyncRun.Trigger.EVENT)
    assert place.carry_on(run).status == SyncRun.Status.ASKING


def test_leavers_one_by_one_are_counted_together(wecom_events: WeComEvents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departments, "UNASKED_AT_LEAST", 1)
    for userid in ("LiLei", "jim"):
        wecom_events.place.delete_member(userid)
        wecom_events.hear()

    assert wecom_events.place.member("LiLei").presence == Presence.DELETED
    assert wecom_events.place.member("jim").presence == Presence.IN_SCOPE
    assert SyncRun.objects.filter(trigger=SyncRun.Trigger.EVENT).count() == 1


def test_while_wecom_cannot_be_asked_its_word_of_a_leaver_counts(wecom_events: WeComEvents, place: Directory) -> None:
    place.delete_member("LiLei")
    wecom_events.send(*wecom_events.heard())
    place.sandbox.fault("ip_refused", "user/get", count=None)

    process_due_events(wecom_events.clock)
    assert place.member("LiLei").presence == Presence.OUT_OF_SCOPE
    assert place.member("jim").presence == Presence.IN_SCOPE
    assert set(CallbackEvent.objects.filter(consumer=events.CONSUMER_NAME).values_list("status", flat=True)) == {
        Status.WAITING
    }

    place.sandbox.control("DELETE", "faults")
    wecom_events.work_off()
    assert place.member("LiLei").presence == Presence.DELETED


def test_the_same_leaver_tried_again_and_again_is_one_leaver(
    wecom_events: WeComEvents, place: Directory, settings: Settings
) -> None:
    """Count a leaver once, or after some minutes without WeCom nobody else would be barred by an event."""
    settings.DIRECTORY_GUARD_PERCENT = 100
    place.sandbox.fault("ip_refused", "user/get", count=None)
    for leaver in ("LiLei", "jim"):
        place.delete_member(leaver)
        wecom_events.send(*wecom_events.heard())
        for _ in range(3):
            wecom_events.clock.now += timedelta(minutes=1)
            process_due_events(wecom_events.clock)

    assert place.member("jim").presence == Presence.OUT_OF_SCOPE


def test_a_word_that_was_wrong_heals(wecom_events: WeComEvents, place: Directory) -> None:
    """Restore a leaver who is back before WeCom could be asked."""
    place.set_scope(partyids=[2])
    wecom_events.send(*wecom_events.heard())
    place.sandbox.fault("ip_refused", "*", count=None)
    process_due_events(wecom_events.clock)
    assert place.member("jim").presence == Presence.OUT_OF_SCOPE

    place.sandbox.control("DELETE", "faults")
    place.set_scope(partyids=[1])
    wecom_events.heard()  # and lost
    wecom_events.work_off()
    assert place.member("jim").presence == Presence.IN_SCOPE


def test_a_root_that_is_gone_becomes_a_run_which_says_so(wecom_events: WeComEvents) -> None:
    place: Directory = wecom_events.place.with_roots(99)
    place.put_members({"userid": "jim", "department": [3]})
    wecom_events.hear()

    (run,) = SyncRun.objects.filter(trigger=SyncRun.Trigger.EVENT)
    assert place.carry_on(run).problem == "root"


pytestmark = pytest.mark.django_db


def verify_address(wecom_events: WeComEvents, minutes: int = 1) -> None:
    wecom_events.place.corp.contacts_callback_verified_at = wecom_events.clock.now - timedelta(minutes=minutes)
    wecom_events.place.corp.save()


@pytest.mark.parametrize(
    ("minutes", "is_heard", "is_copied", "state"),
    [
        (None, False, True, ReceptionState.NIGHTLY),
        (None, True, True, ReceptionState.NIGHTLY),  # new keys begin anew
        (1, False, True, ReceptionState.SILENT),
        (1, True, True, ReceptionState.ARRIVING),
        (-1, True, True, ReceptionState.SILENT),  # events before the address was verified do not count
        (1, False, False, ReceptionState.NOT_COPIED),
    ],
)
def test_what_is_heard_of_changes(
    wecom_events: WeComEvents, minutes: int | None, is_heard: bool, is_copied: bool, state: ReceptionState
) -> None:
    corp = wecom_events.place.corp
    if minutes is not None:
        verify_address(wecom_events, minutes)
    if is_heard:
        corp.people_event_at = wecom_events.clock.now
    if not is_copied:
        SyncRun.objects.all().delete()

    assert describe_reception(corp, now=wecom_events.clock.now).state == state


def test_events_that_wait_too_long_are_said(wecom_events: WeComEvents) -> None:
    verify_address(wecom_events, minutes=1)
    wecom_events.place.put_members({"userid": "jim", "department": [3]})
    wecom_events.send(*wecom_events.heard())
    assert CallbackEvent.objects.waiting().exists()
    corp = wecom_events.place.corp

    assert describe_reception(corp, now=timezone.now()).late_count == 0
    late = describe_reception(corp, now=timezone.now() + timedelta(minutes=11))
    assert late.late_count == CallbackEvent.objects.exclude(consumer="").count()
    CallbackEvent.objects.exclude(consumer="").update(try_count=1)  # they are repeated after a run
    assert describe_reception(corp, now=timezone.now() + timedelta(minutes=11)).late_count == 0
    with translation.override("zh-hans"):
        assert "超过十分钟" in late.sentences[1]


def give_up_events(wecom_events: WeComEvents) -> Corp:
    wecom_events.place.put_members(*({"userid": one, "department": [3]} for one in ("jim", "LiLei")))
    wecom_events.send(*wecom_events.heard())
    CallbackEvent.objects.exclude(consumer="").update(
        status=CallbackEvent.Status.FAILED, try_count=8, problem="KeyError"
    )
    return wecom_events.place.corp


def test_events_that_were_given_up_are_said_until_a_run_has_made_them_good(wecom_events: WeComEvents) -> None:
    verify_address(wecom_events, minutes=1)
    corp = give_up_events(wecom_events)
    count = CallbackEvent.objects.exclude(consumer="").count()
    assert count > 0

    reception = describe_reception(corp, now=timezone.now())
    assert (reception.given_up_count, reception.late_count, reception.tone) == (count, 0, "bad")
    with translation.override("zh-hans"):
        assert "立即同步通讯录" in reception.sentences[-1]
    wecom_events.place.clock.now = timezone.now()
    wecom_events.place.sync_saying_yes()

    reception = describe_reception(corp, now=timezone.now())
    assert (reception.given_up_count, reception.tone) == (0, "warn")


def test_the_pages_say_what_was_given_up_and_offer_another_try(wecom_events: WeComEvents, admin_client: Client) -> None:
    corp = give_up_events(wecom_events)
    other = Corp.objects.create(name="南湖贸易", corpid="ww0000000000000001", agentid=1, secret="s", is_enabled=True)
    start = reverse("admin:integrations_syncrun_start", args=[corp.pk])
    again = reverse("admin:integrations_syncrun_again", args=[corp.pk])
    count = CallbackEvent.objects.exclude(consumer="").count()
    words = f"{count} events about people were given up"

    assert words in admin_client.get(reverse("admin:index")).content.decode()
    assert words in admin_client.get(reverse("admin:integrations_corp_change", args=[corp.pk])).content.decode()
    page = admin_client.get(start).content.decode()
    assert words in page
    assert again in page
    assert "given up" not in admin_client.get(reverse("admin:integrations_syncrun_start", args=[other.pk])).text

    answer = admin_client.post(reverse("admin:integrations_syncrun_again", args=[other.pk]), follow=True)
    assert "0 events are tried once more." in answer.content.decode()
    assert CallbackEvent.objects.filter(status="failed").count() == count
    assert AuditEntry.objects.filter(note__contains="given up").count() == 0

    answer = admin_client.post(again, follow=True)
    assert f"{count} events are tried once more." in answer.content.decode()
    assert set(CallbackEvent.objects.exclude(consumer="").values_list("status", "try_count", "problem")) == {
        ("waiting", 0, "")
    }
    assert AuditEntry.objects.get(note__contains="given up").corp == corp
    wecom_events.work_off()
    assert wecom_events.place.stored() == wecom_events.place.theirs()
    assert again not in admin_client.get(start).content.decode()


def test_the_pages_say_how_changes_arrive(wecom_events: WeComEvents, admin_client: Client) -> None:
    corp = wecom_events.place.corp
    start, company = (
        reverse(f"admin:integrations_{name}", args=[corp.pk]) for name in ("syncrun_start", "corp_change")
    )
    off = admin_client.get(start).content.decode()
    DirectoryPolicy.objects.create(corp=corp, mode="link")
    nightly = [admin_client.get(page).content.decode() for page in (start, company)]
    verify_address(wecom_events)
    for _ in range(2):
        assert Client().get("/wecom/987654321/events/").status_code == 403
    silent = [admin_client.get(page).content.decode() for page in (start, company)]
    policies = admin_client.get(reverse("admin:accounts_directorypolicy_changelist")).content.decode()

    assert "No callback address is verified." not in off
    assert 'class="sync-policy"' in off  # what happens to users is chosen here
    assert all("No callback address is verified." in page for page in nightly)
    assert all("no event about people has arrived" in page for page in silent)
    assert "with the nightly run only" in policies
    assert "2 calls were refused today at addresses of companies that do not exist here" in silent[1]
