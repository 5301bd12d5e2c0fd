"""The sandbox's pages under axe-core, light on a phone and dark on a desktop: colours do not depend on the width."""

from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.nightly import nightly
from tests.sandbox.conftest import Api
from tests.sandbox.direct import MENU, PNG
from tests.sandbox.programs import npm_modules
from tests.sandbox.test_calls import upload
from tests.sandbox.test_messages import BUTTON, MULTIPLE, NEWS_NOTICE, TEXT_NOTICE, VOTE
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

pytestmark = [pytest.mark.e2e, nightly]
PAGES = (
    *("/phone", f"/phone/chat/{AGENTID}", "/phone/workbench", "/phone/me", "/phone/choose"),
    *("/console", "/console/faults", "/console/log", f"/console/{CORPID}", f"/console/{CORPID}/members"),
    *(f"/console/{CORPID}/apps/{AGENTID}", "/wwlogin/sso/login"),
    f"/wwlogin/sso/login?appid={CORPID}&agentid={AGENTID}&redirect_uri=http%3A%2F%2Flocalhost%3A3001%2F",
)
# Results of passed rules are left out, which saves time.
VIOLATIONS = """async (levels) =>
  (await axe.run({ runOnly: levels, resultTypes: ["violations"] })).violations"""


def fill(api: Api, sandbox: SandboxHandle) -> None:
    """Send one message of each kind with a drawing of its own."""
    url = "http://localhost:3001/m"
    picture = upload(api, "image", PNG, "图.png")["media_id"]
    api.post("menu/create", MENU, agentid=AGENTID)
    api.send(text={"content": '文本 <a href="https://a.example/">链接</a>'}, safe=1)
    api.send(msgtype="markdown", markdown={"content": '# 题\n> 引 `码`\n<font color="warning">红</font>'})
    gray = '<div class="gray">灰</div><div class="highlight">亮</div>'
    api.send(msgtype="textcard", textcard={"title": "题", "description": gray, "url": url})
    api.send(msgtype="image", image={"media_id": picture})
    article = {"title": "一", "url": url, "picurl": "https://cdn.example.com/a.png"}
    api.send(msgtype="news", news={"articles": [article]})
    for card in (BUTTON, VOTE, MULTIPLE, NEWS_NOTICE, TEXT_NOTICE | {"source": {"desc": "源", "desc_color": 2}}):
        api.send(msgtype="template_card", template_card=card)
    sandbox.control("POST", f"companies/{CORPID}/members/lilei/write", {"agentid": AGENTID, "text": "好"})
    sandbox.fault("busy", "user/get", count=None)


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1440)])
def test_no_violations(browser: Browser, api: Api, sandbox: SandboxHandle, scheme: Any, width: int) -> None:
    fill(api, sandbox)
    axe = (npm_modules() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    # The pages' own policy forbids foreign scripts such as axe-core.
    context = browser.new_context(
        base_url=sandbox.base_url, viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    page.goto(f"/phone?corpid={CORPID}&userid=lilei")
    found = []
    for path in PAGES:
        page.goto(path)
        page.evaluate(axe)
        violations = page.evaluate(VIOLATIONS, ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"])
        found += [(path, one["id"], [node["html"] for node in one["nodes"]]) for one in violations]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    context.close()
    assert found == []
