"""Answers of WeCom, a method for each call of a check. Each compares the query that it gets."""

import json
from dataclasses import dataclass, field
from typing import Any

import responses
from responses import matchers

from tests.integrations.conftest import CORPID

API = "https://qyapi.weixin.qq.com/cgi-bin"
HINT = "1764000000123456789012345"
CALLER_IP = "203.0.113.9"
HOME = (
    f"https://open.weixin.qq.com/connect/oauth2/authorize?appid={CORPID}"
    "&redirect_uri=https%3A%2F%2Fbi.example.com%2Fwecom%2F{key}%2Fcallback%2F"
    "&response_type=code&scope=snsapi_base&agentid=1000002#wechat_redirect"
)
AGENT = {
    "errcode": 0,
    "errmsg": "ok",
    "agentid": 1000002,
    "name": "观远BI",
    "allow_userinfos": {"user": []},
    "allow_partys": {"partyid": [2, 5]},
    "allow_tags": {"tagid": []},
    "close": 0,
    "redirect_domain": "bi.example.com",
    "home_url": "",
}


def refusal(code: int, text: str = "refused", ip: str = CALLER_IP) -> dict[str, Any]:
    more = "more info at https://open.work.weixin.qq.com/devtool/query"
    return {"errcode": code, "errmsg": f"{text}, hint: [{HINT}], from ip: {ip}, {more}?e={code}"}


@dataclass
class Wire:
    mock: responses.RequestsMock
    sent: list[dict[str, Any]] = field(default_factory=list)

    def token(self, answer: object = None, *, secret: str = "the-secret", **kwargs: Any) -> None:
        given = {"errcode": 0, "errmsg": "ok", "access_token": "sim-token", "expires_in": 7200}
        query = matchers.query_param_matcher({"corpid": CORPID, "corpsecret": secret})
        self.mock.get(f"{API}/gettoken", **{"json": answer or given, "match": [query], **kwargs})

    def get(self, call: str, answer: object, **query: str | int) -> None:
        asked = {"access_token": "sim-token", **{name: str(value) for name, value in query.items()}}
        self.mock.get(f"{API}/{call}", json=answer, match=[matchers.query_param_matcher(asked)])

    def agent(self, answer: object = None, **changes: object) -> None:
        self.get("agent/get", answer or {**AGENT, **changes}, agentid=1000002)

    def callback_ip(self, answer: object = None) -> None:
        self.get("getcallbackip", answer or {"errcode": 0, "errmsg": "ok", "ip_list": ["192.0.2.1"]})

    def post(self, call: str, answer: Any, **kwargs: Any) -> None:
        def take(request: Any) -> tuple[int, dict[str, str], str]:
            self.sent.append(json.loads(request.body))
            return 200, {}, json.dumps(answer)

        self.mock.add_callback("POST", f"{API}/{call}", callback=take, **kwargs)

    def paths(self) -> list[str]:
        """Return the paths of the calls in order, without host, prefix and query."""
        return [str(call.request.path_url).split("?")[0].removeprefix("/cgi-bin/") for call in self.mock.calls]
