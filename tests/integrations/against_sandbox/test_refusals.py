"""Refusals of WeCom that come from its state and not from a fault: the code, and the error class for the caller."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from integrations.clients.errors import (
    BadRequestError,
    ConfigurationError,
    IntegrationError,
    LoginRefusedError,
    RecipientError,
)
from integrations.clients.wecom import builders
from integrations.clients.wecom.builders import Recipients, body_bytes
from integrations.clients.wecom.client import AgentChanges
from tests.integrations.against_sandbox.place import CALLER_IP, WHOLE, Place, sent, text, update


def refused(cls: type[IntegrationError], code: int, call: Callable[[], object]) -> Any:
    """Return the error of a refusal, which carries what an administrator needs."""
    with pytest.raises(IntegrationError) as caught:
        call()
    error = caught.value
    assert (type(error), error.code) == (cls, code), error
    assert error.caller_ip == CALLER_IP
    assert re.fullmatch(r"\d{25}", error.hint)
    assert "hint" not in error.message
    return error


ROBOT_TEXT = body_bytes(builders.robot_text("x"))
# An example of each class, each reached in another way.
ROWS: tuple[tuple[type[IntegrationError], int, Callable[[Place], object]], ...] = (
    (RecipientError, 60111, lambda at: at.app.user_get("ghost")),
    (RecipientError, 60003, lambda at: at.app.department_simplelist(99)),
    (RecipientError, 46003, lambda at: at.app.menu_get()),
    (RecipientError, 60140, lambda at: at.app.message_update_template_card(update("unknown"))),
    (RecipientError, 86003, lambda at: at.whole.appchat_get("unknown")),
    (ConfigurationError, 48009, lambda at: at.contacts.user_list(2)),
    (ConfigurationError, 48002, lambda at: at.app.appchat_create(userids=["lilei", "hanmeimei"])),
    (ConfigurationError, 40001, lambda at: at.client(secret="wrong-secret").agent_get()),
    (ConfigurationError, 40013, lambda at: at.client(corpid="ww9999999999999999").agent_get()),
    (ConfigurationError, 41004, lambda at: at.client(secret="").agent_get()),
    (ConfigurationError, 301002, lambda at: at.client(agentid=WHOLE).agent_get()),
    (ConfigurationError, 85005, lambda at: at.app.agent_set(AgentChanges(redirect_domain="other.example.com"))),
    (ConfigurationError, 50001, lambda at: at.whole.auth_getuserinfo(at.code())),
    (ConfigurationError, 93000, lambda at: at.robot_client("wrong-key").webhook_send(ROBOT_TEXT)),
    (BadRequestError, 40007, lambda at: sent(at, builders.file_content("unknown"))),
    (BadRequestError, 40123, lambda at: at.app.media_upload(b"no picture", kind="image", file_name="图.png")),
    (BadRequestError, 40058, lambda at: at.app.message_recall("unknown")),
    (LoginRefusedError, 40029, lambda at: at.app.auth_getuserinfo("garbage")),
)


@pytest.mark.parametrize(("cls", "code", "call"), ROWS, ids=[str(row[1]) for row in ROWS])
def test_refusal(place: Place, cls: type[IntegrationError], code: int, call: Callable[[Place], object]) -> None:
    refused(cls, code, lambda: call(place))

    assert place.sandbox.calls()[-1]["errcode"] == code
    assert place.all_messages() == []


def test_nobody_can_receive_it(place: Place) -> None:
    to = Recipients(["JIM", "ghost"])

    error = refused(RecipientError, 81013, lambda: place.app.message_send(text(to=to)))

    assert error.invalid_userids == ("jim", "ghost")
    assert place.all_messages() == []


def test_somebody_outside_the_scope_signs_in(place: Place) -> None:
    identity = place.app.auth_getuserinfo(place.code("jim"))
    assert identity.userid == "jim"
    refused(RecipientError, 60011, lambda: place.app.user_get(identity.userid))


def test_an_address_that_is_not_trusted(place: Place) -> None:
    place.app_control(trusted_ips=["203.0.113.9"])

    for call in (place.app.getcallbackip, lambda: place.app.user_get("lilei"), lambda: place.app.message_send(text())):
        refused(ConfigurationError, 60020, call)

    # gettoken and robots work from an untrusted address.
    assert place.errcodes("gettoken") == [0]
    place.robot.webhook_send(ROBOT_TEXT)
    place.app_control(trusted_ips=[CALLER_IP])
    assert place.app.user_get("lilei").userid == "LiLei"
