"""The whole mail on the page of its message: for its recipients, in a frame that runs and loads nothing."""

import pytest
from django.test import Client

from accounts.models import User
from integrations.core.background import database_now
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, IncomingMessage
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import make_corp, make_manager, make_person
from tests.notifications.inbound.channels import make_mail_channel, take
from tests.notifications.inbound.mail import senders

pytestmark = pytest.mark.django_db


@pytest.fixture
def zhang() -> User:
    return make_person(make_corp(), "ZhangWei")


@pytest.fixture
def delivery(zhang: User) -> Delivery:
    """The news card of a mail with a picture of a dashboard and a sheet; the sheet has a message of its own."""
    corp = zhang.wecom_accounts.get().corp
    assert corp is not None
    channel, _password = make_mail_channel(make_manager(corp))
    _answer, run_ids = take(channel, senders.guandata(), "ZhangWei@wecom.local")
    render_run(run_id=run_ids[0], now=database_now())
    return Delivery.objects.get()


def test_the_frame_runs_nothing_and_loads_nothing(zhang: User, delivery: Delivery) -> None:
    IncomingMessage.objects.update(original=b"no mail")  # which is not parsed anew for the page
    page = client_of(zhang).get(f"/m/{delivery.mark}/").content.decode()
    assert (
        f'<iframe sandbox="allow-popups allow-popups-to-escape-sandbox" src="/m/{delivery.mark}/mail/" '
        'title="完整邮件" loading="lazy"></iframe>'
    ) in page
    response = client_of(zhang).get(f"/m/{delivery.mark}/mail/")

    policy = dict(part.strip().partition(" ")[::2] for part in response["Content-Security-Policy"].split(";"))
    # form-action is not needed: a sandbox without allow-forms submits no forms.
    assert {name: policy[name] for name in policy if name not in {"form-action", "object-src"}} == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "frame-ancestors": "'self'",
        "sandbox": "allow-popups allow-popups-to-escape-sandbox",
    }
    assert (response["X-Frame-Options"], response["Cache-Control"]) == ("SAMEORIGIN", "private, no-store")
    page = response.content.decode()
    assert "<title>【订阅】销售日报 2026-11-27</title>" in page
    assert '<img src="data:image/png;base64,iVBOR' in page
    assert '<a href="https://bi.example.com/page/p1" target="_blank" rel="noopener noreferrer nofollow">' in page


def test_whoever_did_not_get_the_message_does_not_get_the_mail(zhang: User, delivery: Delivery) -> None:
    path = f"/m/{delivery.mark}/mail/"

    assert client_of(make_person(make_corp(), "Other")).get(path).status_code == 404
    assert client_of(make_manager()).get(path).status_code == 404
    assert Client().get(path).status_code == 302
    assert client_of(zhang).get("/m/nonsense/mail/").status_code == 404
    assert client_of(zhang).post(path).status_code == 405


def test_a_message_that_was_no_mail_has_none(zhang: User, delivery: Delivery) -> None:
    IncomingMessage.objects.update(origin="api", original=b"")

    assert client_of(zhang).get(f"/m/{delivery.mark}/mail/").status_code == 404
    assert "iframe" not in client_of(zhang).get(f"/m/{delivery.mark}/").content.decode()
