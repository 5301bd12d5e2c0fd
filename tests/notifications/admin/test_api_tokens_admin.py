"""Making and revoking tokens in the administration: the secret is shown once, the reach is limited."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, User
from integrations.models import Corp
from notifications.models import ApiToken, Subscription
from tests.audit import clear_trail
from tests.notifications.admin.conftest import client_of
from tests.notifications.api.conftest import client_with, make_editor, make_token
from tests.notifications.factories import make_corp, make_person, make_report, make_subscription, make_superuser

pytestmark = pytest.mark.django_db
ADD = reverse("admin:notifications_apitoken_add")
LIST = reverse("admin:notifications_apitoken_changelist")
SENDING: dict[str, Any] = {"may_send": "on", "reach": "subscriptions", "sends_to": "corps", "daily_limit": "50"}
SENDING |= {"may_run": "", "may_read": ""}
SECRET = re.compile(r'value="(gwc_[A-Za-z0-9_-]{43})"')


@pytest.fixture
def editor(corp: Corp) -> User:
    return make_editor(corp)


@pytest.fixture
def subscription(corp: Corp) -> Subscription:
    return make_subscription(report=make_report(corp=corp))


def sent(**changes: Any) -> dict[str, Any]:
    form = {"name": "数据仓库", "may_run": "on", "may_read": "on", "days": "90", "page_key": uuid.uuid4().hex}
    return {**form, "reach": "everything", **changes}


def page_of(token: ApiToken, page: str = "change") -> str:
    return reverse(f"admin:notifications_apitoken_{page}", args=[token.pk])


class TestMaking:
    def test_shows_the_secret_once_on_a_page_that_nobody_keeps(self, editor: User, subscription: Subscription) -> None:
        browser, root = client_of(editor), make_superuser()
        # No right is selected at first, so nobody grants one by oversight.
        form = browser.get(ADD).context["adminform"].form
        assert [name for name in form.fields if name.startswith("may_") and form[name].value()] == []
        clear_trail()

        values = sent(reach="subscriptions", subscriptions=[subscription.pk], owner=root.pk)
        answer = browser.post(ADD, values)
        again = browser.post(ADD, values)

        assert (again.status_code, SECRET.findall(again.content.decode())) == (200, [])
        [secret] = SECRET.findall(answer.content.decode())
        token = ApiToken.objects.get()
        assert answer.status_code == 200
        assert "no-store" in answer.headers["Cache-Control"]
        assert (token.owner, token.reach, list(token.subscriptions.all())) == (editor, "subscriptions", [subscription])
        assert timedelta(days=89) < token.expires_at - timezone.now() <= timedelta(days=90)
        assert client_with(secret).get("/api/v1/subscriptions").json()["items"][0]["id"] == subscription.pk
        page = browser.get(page_of(token)).content.decode()
        for fact in (token.prefix, str(subscription), "127.0.0.1", page_of(token, "revoke")):
            assert fact in page
        for later in (page, *(browser.get(one).content.decode() for one in (LIST, page_of(token, "history")))):
            assert secret not in later
            assert token.digest not in later
        entries = AuditEntry.objects.filter(model="notifications.apitoken").order_by("pk")
        assert [(entry.action, entry.actor_id) for entry in entries] == [("created", editor.pk), ("changed", editor.pk)]
        assert entries[1].corp_id == subscription.report.corp_id

    def test_two_at_the_same_moment_make_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Simulates two requests at once: the second passes the form's check before the first has written its row."""

        def refuse(*_args: Any, **_kwargs: Any) -> None:
            raise IntegrityError

        monkeypatch.setattr(ApiToken, "save", refuse)

        answer = client_of(make_superuser()).post(ADD, sent())

        assert (answer.status_code, answer.headers["Location"]) == (302, LIST)


class TestLimits:
    @pytest.mark.usefixtures("undrawn")
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"reach": "everything"}, "reach"),
            *(({"reach": "corps", "corps": [wrong]}, "corps") for wrong in ("OTHER", "")),
            *(({"reach": "subscriptions", "subscriptions": [wrong]}, "subscriptions") for wrong in ("PUSH", "")),
            ({"may_run": "", "may_read": "", "reach": "corps", "corps": ["MINE"]}, "__all__"),
            *(({"reach": "corps", "corps": ["MINE"], name: ""}, name) for name in ("page_key", "name")),
            ({"reach": "corps", "corps": ["MINE"], "days": "9999"}, "days"),
            ({**SENDING, "sends_to": "corps"}, "send_corps"),
            ({**SENDING, "sends_to": "chosen"}, "send_users"),
            ({**SENDING, "sends_to": "everyone"}, "sends_to"),
            ({**SENDING, "send_corps": ["OTHER"]}, "send_corps"),
            ({**SENDING, "sends_to": "chosen", "send_users": ["STRANGER"]}, "send_users"),
            ({**SENDING, "daily_limit": "0"}, "daily_limit"),
        ],
    )
    def test_what_is_wrong_is_refused_at_its_field(
        self, changes: dict[str, Any], field: str, editor: User, corp: Corp
    ) -> None:
        """Administrators of some companies have to name what the token reaches, within these companies."""
        elsewhere = make_corp()
        push, stranger = make_subscription(report=make_report(corp=elsewhere)), make_person(elsewhere, "Li")
        known = {"MINE": corp.pk, "OTHER": elsewhere.pk, "PUSH": push.pk, "STRANGER": stranger.pk}
        form = {
            name: [known[one] for one in each if one] if isinstance(each, list) else each
            for name, each in changes.items()
        }

        answer = client_of(editor).post(ADD, {name: value for name, value in sent(**form).items() if value})

        assert answer.context["adminform"].form.errors[field]
        assert not ApiToken.objects.exists()


class TestOneToken:
    def test_is_revoked_after_a_question(self, editor: User) -> None:
        token, client = make_token(editor)
        browser = client_of(editor)

        confirmation = browser.get(page_of(token, "revoke"))
        between = client.get("/api/v1/subscriptions").status_code
        clear_trail()
        done = browser.post(page_of(token, "revoke"))

        revoked_at = ApiToken.objects.get().revoked_at
        assert (confirmation.status_code, between, done.status_code) == (200, 200, 302)
        assert client.get("/api/v1/subscriptions").status_code == 401
        assert page_of(token, "revoke") not in browser.get(page_of(token)).content.decode()
        assert browser.post(page_of(token, "revoke")).status_code == 302
        assert ApiToken.objects.get().revoked_at == revoked_at
        assert [change[0] for change in AuditEntry.objects.get().changes] == ["revoked_at"]


def test_the_list_says_how_each_token_stands(django_assert_max_num_queries: Any) -> None:
    root, left = make_superuser(), make_editor()
    now = timezone.now()
    make_token(root, name="good")
    make_token(root, name="revoked", revoked_at=now)
    make_token(root, name="expired", expires_at=now - timedelta(days=1))
    make_token(left, name="owner gone")
    User.objects.filter(pk=left.pk).update(is_active=False)
    browser = client_of(root)
    browser.get(LIST)

    with django_assert_max_num_queries(12):
        page = browser.get(LIST, headers={"accept-language": "en"}).content.decode()

    for words in ("until ", "revoked", "expired", "its owner was disabled"):
        assert words in page


class TestSending:
    """Fields of a token that sends messages: recipients, daily limit, and the secret that signs its webhooks."""

    def test_needs_no_pushes_and_shows_the_second_secret_once(self, editor: User, corp: Corp) -> None:
        browser = client_of(editor)

        answer = browser.post(ADD, sent(**SENDING, send_corps=[corp.pk]))

        token = ApiToken.objects.get()
        assert (token.may_send, token.daily_limit, list(token.send_corps.all())) == (True, 50, [corp])
        assert re.fullmatch(r"gws_[A-Za-z0-9_-]{43}", token.signing_secret)
        assert token.signing_secret in answer.content.decode()
        page = browser.get(page_of(token)).content.decode()
        for words in ("发送消息", "仅限以下公司的人员", "<div>北山制造</div>", "0 / 50"):
            assert words in page
        for later in (page, browser.get(page_of(token, "history")).content.decode()):
            assert token.signing_secret not in later
        trail = " ".join(f"{entry.changes} {entry.note}" for entry in AuditEntry.objects.all())
        assert token.signing_secret not in trail

    def test_keeps_no_list_that_is_not_meant(self, editor: User, corp: Corp, subscription: Subscription) -> None:
        zhang = make_person(corp, "Zhang")
        lists = {"send_corps": [corp.pk], "send_users": [zhang.pk]}
        browser = client_of(editor)

        browser.post(ADD, sent(**{**SENDING, "sends_to": "chosen"}, **lists))
        chosen = ApiToken.objects.get()
        browser.post(ADD, sent(reach="corps", corps=[corp.pk], subscriptions=[subscription.pk], **lists))
        silent = ApiToken.objects.exclude(pk=chosen.pk).get()

        assert (list(chosen.send_users.all()), list(chosen.send_corps.all())) == ([zhang], [])
        assert (silent.may_send, silent.signing_secret) == (False, "")
        assert [row.count() for row in (silent.send_users, silent.send_corps, silent.subscriptions)] == [0, 0, 0]
        assert list(silent.corps.all()) == [corp]

    @pytest.mark.parametrize("is_superuser", [True, False])
    def test_lets_webhooks_into_the_internal_network_for_superusers_alone(self, is_superuser: bool, corp: Corp) -> None:
        person = make_superuser() if is_superuser else make_editor()

        client_of(person).post(ADD, sent(**SENDING, send_corps=[corp.pk], allows_private_addresses="on"))

        assert ApiToken.objects.get().allows_private_addresses is is_superuser
