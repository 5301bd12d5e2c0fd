"""A site with one company of the sandbox and two people, for tests of signing in by a browser."""

from dataclasses import dataclass
from urllib.parse import quote

from accounts.models import User, WeComAccount
from integrations.models import Corp
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

NAMES = {"LiLei": "李雷", "hanmeimei": "韩梅梅"}


@dataclass(frozen=True)
class Joined:
    """A site with a company of the sandbox. `base` is the site's address without a slash."""

    base: str
    corp: Corp
    sandbox: SandboxHandle

    def phone_of(self, userid: str) -> str:
        """Return the address that makes a browser this person's phone."""
        return f"{self.sandbox.base_url}/phone?corpid={CORPID}&userid={userid}"

    def entry(self, page: str) -> str:
        return f"{self.base}/wecom/{self.corp.pk}/start/?next={quote(page, safe='/')}"


def join(base: str, sandbox: SandboxHandle) -> Joined:
    """Connect both sides, as their administrators would."""
    domain = base.removeprefix("http://")
    app = {**company()["apps"][0], "trusted_domain": domain, "callback_domain": domain}
    sandbox.load({"companies": [company(apps=[app])]})
    doors = dict.fromkeys(("api_base_url", "authorize_base_url", "qr_base_url"), sandbox.base_url)
    corp = Corp.objects.create(name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET, is_enabled=True, **doors)
    for userid, name in NAMES.items():
        WeComAccount.objects.create(user=User.objects.create(username=userid, name=name), corp=corp, userid=userid)
    return Joined(base, corp, sandbox)
