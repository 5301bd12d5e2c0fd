"""What is kept has an end, however much comes."""

from __future__ import annotations

from wecom_sandbox.messages.inbox import Mailroom, Message, Recent
from wecom_sandbox.settings import Settings

from tests.sandbox.conftest import Api
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle


def test_robots_messages_have_an_end_too() -> None:
    mail = Mailroom(Settings(messages_kept=3))

    for number in range(5):
        mail.deliver_to_group(Message(f"m{number}", CORPID, None, "text", {}, 0.0, robot="k"))

    assert list(mail.messages) == ["m2", "m3", "m4"]


def test_what_was_sent_for_duplicates_has_an_end_too() -> None:
    recent = Recent(8)
    bodies = [b"%d" % number for number in range(10)]

    for number, body in enumerate([*bodies[:8], bodies[0], *bodies[8:]], 1):
        recent.add(CORPID, AGENTID, body, until=float(number))

    known = [recent.until(CORPID, AGENTID, body) for body in bodies]
    assert known == [9.0, 0.0, 0.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 11.0]
    assert len(recent) == 8
    assert (recent.until("ww0000000000000002", AGENTID, b"9"), recent.until(CORPID, 2, b"9")) == (0.0, 0.0)


def test_a_group_member_above_two_hundred_a_minute_gets_nothing(api: Api, sandbox: SandboxHandle) -> None:
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", {"scope": {"partyids": [1]}})
    api.post("appchat/create", {"userlist": ["lilei", "jim"], "chatid": "c1"})
    api.post("appchat/create", {"userlist": ["lilei", "hanmeimei"], "chatid": "c2"})
    message = {"chatid": "c1", "msgtype": "text", "text": {"content": "x"}}
    for _ in range(200):
        api.post("appchat/send", message)

    assert api.post("appchat/send", {**message, "chatid": "c2"}) == {"errcode": 0, "errmsg": "ok"}

    last = sandbox.control("GET", f"companies/{CORPID}/messages")["messages"][-1]
    assert (last["receivers"], last["dropped"]) == (["hanmeimei"], ["lilei"])
