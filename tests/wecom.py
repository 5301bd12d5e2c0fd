"""Answers of WeCom for `responses`: one entry per endpoint, built from tests/fixtures/wecom.

    with wecom_answers() as wecom:
        wecom.gives("gettoken")
        wecom.gives("user_get", params={"userid": "lilei"})

A test fails if a registered answer is not used, or if a request's parameters or body are not the expected ones.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import responses
from responses import matchers

FIXTURES = Path(__file__).parent / "fixtures" / "wecom"
API = "https://qyapi.weixin.qq.com"
CORPID = "ww1a2b3c4d5e6f7a8b"
AGENTID = 1000002
SECRET = "sim-secret-0123456789abcdef"
TOKEN = "sim-AAAA-0123456789abcdef"
ROBOT_KEY = "sim-robot-key-0123456789"
HINT = "1764000000123456789012345"
CALLER_IP = "203.0.113.9"

ENDPOINTS = {
    "gettoken": ("GET", "/cgi-bin/gettoken"),
    "auth_getuserinfo": ("GET", "/cgi-bin/auth/getuserinfo"),
    "user_get": ("GET", "/cgi-bin/user/get"),
    "user_simplelist": ("GET", "/cgi-bin/user/simplelist"),
    "user_list": ("GET", "/cgi-bin/user/list"),
    "user_list_id": ("POST", "/cgi-bin/user/list_id"),
    "department_list": ("GET", "/cgi-bin/department/list"),
    "department_simplelist": ("GET", "/cgi-bin/department/simplelist"),
    "department_get": ("GET", "/cgi-bin/department/get"),
    "tag_get": ("GET", "/cgi-bin/tag/get"),
    "agent_get": ("GET", "/cgi-bin/agent/get"),
    "agent_set": ("POST", "/cgi-bin/agent/set"),
    "menu_create": ("POST", "/cgi-bin/menu/create"),
    "menu_get": ("GET", "/cgi-bin/menu/get"),
    "getcallbackip": ("GET", "/cgi-bin/getcallbackip"),
    "get_jsapi_ticket": ("GET", "/cgi-bin/get_jsapi_ticket"),
    "message_send": ("POST", "/cgi-bin/message/send"),
    "message_update_template_card": ("POST", "/cgi-bin/message/update_template_card"),
    "message_recall": ("POST", "/cgi-bin/message/recall"),
    "appchat_create": ("POST", "/cgi-bin/appchat/create"),
    "appchat_update": ("POST", "/cgi-bin/appchat/update"),
    "appchat_get": ("GET", "/cgi-bin/appchat/get"),
    "appchat_send": ("POST", "/cgi-bin/appchat/send"),
    "media_upload": ("POST", "/cgi-bin/media/upload"),
    "webhook_send": ("POST", "/cgi-bin/webhook/send"),
    "webhook_upload_media": ("POST", "/cgi-bin/webhook/upload_media"),
}
_ROBOT = ("webhook_send", "webhook_upload_media")


def fixture(name: str) -> dict[str, Any]:
    """Return the answer in tests/fixtures/wecom/<name>.json, whose other fields name its source."""
    document: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    answer: dict[str, Any] = document["answer"]
    return answer


def refusal(code: int, text: str = "sim text") -> dict[str, Any]:
    """Make an error answer as WeCom writes it."""
    more = f"more info at https://open.work.weixin.qq.com/devtool/query?e={code}"
    return {"errcode": code, "errmsg": f"{text}, hint: [{HINT}], from ip: {CALLER_IP}, {more}"}


class WeComAnswers:
    """Answers of WeCom that a test registers. If an endpoint has several, they are given in that order."""

    def __init__(self, mock: responses.RequestsMock, base_url: str = API) -> None:
        self.mock = mock
        self.base_url = base_url
        self._past: list[Any] | None = None

    def gives(
        self,
        endpoint: str,
        case: str = "",
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        token: str = TOKEN,
    ) -> None:
        """Register a fixture's answer. `params`: the query beside the credentials; `body`: the expected JSON."""
        self.says(endpoint, fixture(f"{endpoint}.{case}" if case else endpoint), params=params, body=body, token=token)

    def refuses(self, endpoint: str, code: int, text: str = "sim text", *, token: str = TOKEN) -> None:
        """Answer any request with an error of WeCom."""
        self.mock.add(*self._place(endpoint), json=refusal(code, text), match=[self._credentials(endpoint, token)])

    def says(
        self,
        endpoint: str,
        answer: Mapping[str, Any],
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        token: str = TOKEN,
    ) -> None:
        """Register any JSON answer."""
        match: list[Any] = [matchers.query_param_matcher({**self._query(endpoint, token), **(params or {})})]
        if body is not None:
            match.append(matchers.json_params_matcher(body))
        self.mock.add(*self._place(endpoint), json=answer, match=match)

    def says_anyway(self, endpoint: str, answer: Mapping[str, Any]) -> None:
        """Answer any request with JSON."""
        self.mock.add(*self._place(endpoint), json=answer)

    def sends(self, endpoint: str, content: bytes | Exception, *, status: int = 200, **headers: str) -> None:
        """Answer any request with these bytes, or with a failed connection."""
        self.mock.add(*self._place(endpoint), body=content, status=status, headers=headers)

    @property
    def calls(self) -> list[Any]:
        """The requests so far, oldest first; readable after the block too."""
        return [call.request for call in self.mock.calls] if self._past is None else self._past

    def end(self) -> None:
        """Keep the requests, which `responses` forgets."""
        self._past = self.calls

    def _place(self, endpoint: str) -> tuple[str, str]:
        method, path = ENDPOINTS[endpoint]
        return method, self.base_url + path

    def _query(self, endpoint: str, token: str) -> dict[str, str]:
        if endpoint == "gettoken":
            return {"corpid": CORPID, "corpsecret": SECRET}
        return {"key": ROBOT_KEY} if endpoint in _ROBOT else {"access_token": token}

    def _credentials(self, endpoint: str, token: str) -> Any:
        return matchers.query_param_matcher(self._query(endpoint, token), strict_match=False)


@contextmanager
def wecom_answers(base_url: str = API, *, all_must_come: bool = True) -> Iterator[WeComAnswers]:
    """Answer every request of this thread's clients. At the end each answer must have been used."""
    with responses.RequestsMock(assert_all_requests_are_fired=all_must_come) as mock:
        answers = WeComAnswers(mock, base_url)
        yield answers
        answers.end()
