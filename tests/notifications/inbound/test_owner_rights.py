"""A channel and a token send with their owner's rights, and stop when the owner loses them."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from accounts.models import User
from accounts.users.roles import Role
from integrations.models import Corp, Job
from notifications.api import tokens
from notifications.inbound import calls
from notifications.inbound.mail.intake import Intake
from notifications.inbound.mail.server import RefusedError
from notifications.inbound.mapping import ChannelMapping
from notifications.models import ApiToken, InboundCall, InboundChannel, IncomingMessage
from tests.jobs import do_jobs
from tests.notifications.factories import make_manager, make_person
from tests.notifications.inbound.channels import call, english_client, mail, make_channel, make_mail_channel, take
from tests.notifications.inbound.factories import make_sender

pytestmark = pytest.mark.django_db
LIST = "/admin/notifications/inboundchannel/"


@pytest.fixture
def zhang(corp: Corp) -> User:
    return make_person(corp, "ZhangWei", username="zhang")


@pytest.mark.parametrize("is_away", [False, True])
def test_a_channel_of_somebody_with_more_rights_stays_theirs_while_they_are_away(corp: Corp, is_away: bool) -> None:
    """Secrets would send with the owner's rights once the owner is back."""
    chief = make_person(corp, "Chief", is_staff=not is_away, manages_all_corps=True)
    channel, token = make_channel(chief), make_sender(chief)
    editor = make_manager(corp)

    answer = english_client(editor).post(f"{LIST}{channel.pk}/secret/")

    assert answer.status_code == 404
    assert not InboundChannel.objects.visible_to(editor).exists()
    assert not ApiToken.objects.visible_to(editor).filter(pk=token.pk).exists()


@pytest.mark.parametrize("is_away", [False, True])
def test_whoever_hands_out_roles_takes_an_editors_channel_in_hand(corp: Corp, is_away: bool) -> None:
    editor = make_person(corp, "Editor", is_staff=not is_away)
    editor.groups.add(Group.objects.get(name=Role.PUSH_EDITOR))
    channel = make_channel(editor)
    admin = make_person(corp, "Admin", is_staff=True)
    admin.managed_corps.add(corp)
    admin.groups.add(Group.objects.get(name=Role.SYSTEM_ADMINISTRATOR))

    assert english_client(admin).post(f"{LIST}{channel.pk}/secret/").status_code == 200


def take_entry(owner: User) -> None:
    User.objects.filter(pk=owner.pk).update(is_staff=False)


def disable(owner: User) -> None:
    User.objects.filter(pk=owner.pk).update(is_active=False)


def take_rights(owner: User) -> None:
    owner.user_permissions.clear()


@pytest.mark.parametrize("lose", [take_entry, disable, take_rights])
def test_a_webhook_answers_as_one_that_does_not_exist_no_mail_is_let_in_and_a_token_sends_nothing(
    lose: Any, owner: User, zhang: User
) -> None:
    webhook, token = make_channel(owner, zhang), make_sender(owner)
    mails, password = make_mail_channel(owner)
    lose(owner)

    assert call(webhook, {"title": "好"}).status_code == 401
    sign_in = Intake(lambda _ids: None).sign_in
    assert sign_in(user=mails.public_id, password=password, address="10.0.0.1") is None
    with pytest.raises(RefusedError):
        take(mails, mail(), "zhang@wecom.local")
    assert not IncomingMessage.objects.exists()
    found = ApiToken.objects.usable(timezone.now()).filter(pk=token.pk).first()
    assert found is None or not tokens.is_allowed(found, tokens.Action.SEND)


def switch_off(owner: User) -> None:
    InboundChannel.objects.filter(owner=owner).update(is_enabled=False)


@pytest.mark.parametrize("lose", [take_entry, disable, take_rights, switch_off])
def test_what_waits_for_its_files_is_refused(lose: Any, owner: User, zhang: User) -> None:
    mapping = ChannelMapping(title="{{ payload.title }}", file_paths=("url",))
    channel = make_channel(owner, zhang, mapping=mapping)
    call(channel, {"title": "告警", "url": "http://127.0.0.1:1/a.png"})
    lose(owner)

    do_jobs(calls.FETCH)

    assert not IncomingMessage.objects.exists()
    assert Job.objects.get().key is None
    newest = InboundCall.objects.newest_first()[0]
    assert (newest.outcome, newest.channel) == ("refused", channel)
    assert "Meanwhile the channel was switched off" in newest.reason


def test_the_list_names_a_channel_whose_owner_may_not_send(owner: User, zhang: User) -> None:
    make_channel(owner, zhang)
    client = english_client(owner)
    assert "its owner may not send messages" not in client.get(LIST).content.decode()

    owner.user_permissions.remove(owner.user_permissions.get(codename="add_incomingmessage"))

    assert "its owner may not send messages" in client.get(LIST).content.decode()
