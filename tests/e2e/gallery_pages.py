"""Every page that employees see, each with what brings it about, for tests/e2e/gallery.py. All names are invented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from django.conf import settings
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import override
from playwright.sync_api import BrowserContext, Page

from accounts.authentication.flow import Cause
from accounts.authentication.session_store import stored_key
from accounts.models import SignedInSession, SignInPolicy, User, WeComAccount
from accounts.views import errors
from accounts.views.errors import ErrorDetails
from integrations.models import Corp
from notifications.models import Receipt, Subscription
from tests.bi import make_bi
from tests.e2e.gallery_rows import MARKDOWN, REPORT, make_message, make_messages, make_subscriptions, more_companies
from tests.e2e.pages import Rows

WECOM = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
    "wxwork/4.1.22 MicroMessenger/7.0.1"
)


@dataclass
class Scene:
    """The site with its rows, and a browser on it. `steps` of a page: what is done in it before it is drawn."""

    base: str
    rows: Rows
    corp: Corp
    context: BrowserContext

    def open(self, path: str, *, as_person: str = "") -> Page:
        page = self.context.new_page()
        if as_person:
            self.sign_in(as_person)
        page.goto(f"{self.base}{path}")
        return page

    def sign_in(self, username: str) -> None:
        client = Client(HTTP_HOST=self.base.removeprefix("http://"), HTTP_USER_AGENT=WECOM)
        client.force_login(User.objects.get(username=username), backend="accounts.authentication.backends.WeComBackend")
        session = client.session
        session["corp_id"] = self.corp.pk
        session.save()
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        self.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": self.base}])


Draw = Callable[[Scene], Page]


# --- Signing in -------------------------------------------------------------------------------------------------------


def login_one(scene: Scene) -> Page:
    page = scene.open("/login/")
    page.locator('[data-panel][data-state="ready"]').wait_for()
    page.frame_locator("[data-panel] iframe").get_by_text("LiLei").wait_for()
    page.wait_for_timeout(1500)
    return page


def login_loading(scene: Scene) -> Page:
    scene.context.route("**/panel/", lambda route: None)
    return scene.open("/login/")


def login_panel_failed(scene: Scene) -> Page:
    scene.context.route("**/wecom.global.prod*.js", lambda route: route.abort())
    page = scene.open("/login/")
    page.locator('[data-panel][data-state="failed"]').wait_for()
    return page


def login_several(scene: Scene) -> Page:
    more_companies(2)
    return scene.open("/login/")


def choose_company(scene: Scene) -> Page:
    more_companies(3)
    scene.context.add_cookies([{"name": "guanwecom-company", "value": str(scene.corp.pk), "url": scene.base}])
    return scene.open("/login/company/")


def choose_among_many(scene: Scene) -> Page:
    more_companies(12)
    return scene.open("/login/company/")


def choose_without_hit(scene: Scene) -> Page:
    more_companies(12)
    return scene.open("/login/company/?q=%E4%B8%9C%E6%B5%B7")


def choose_none(scene: Scene) -> Page:
    Corp.objects.update(is_enabled=False)
    return scene.open("/login/company/")


def declined(scene: Scene) -> Page:
    return scene.open("/login/?stay=1&declined=1")


def signed_out(scene: Scene) -> Page:
    return scene.open("/login/?stay=1&left=1")


def signed_out_everywhere(scene: Scene) -> Page:
    return scene.open("/login/?stay=1&left=everywhere")


def help_open(scene: Scene) -> Page:
    page = scene.open("/login/")
    page.locator("details summary").click()
    return page


def wrong_password(scene: Scene) -> Page:
    page = scene.open("/login/")
    _try_password(page, "lilei", "wrong")
    return page


def locked_out(scene: Scene) -> Page:
    page = scene.open("/login/")
    for _try in range(settings.LOCKOUT_TRIES):
        _try_password(page, "lilei", "wrong")
    return page


def login_without_companies(scene: Scene) -> Page:
    Corp.objects.update(is_enabled=False)
    return scene.open("/login/")


def login_without_passwords(scene: Scene) -> Page:
    SignInPolicy.objects.update_or_create(pk=1, defaults={"password_enabled": False})
    return scene.open("/login/")


def login_without_anything(scene: Scene) -> Page:
    Corp.objects.update(is_enabled=False)
    SignInPolicy.objects.update_or_create(pk=1, defaults={"password_enabled": False})
    return scene.open("/login/")


def login_signed_in(scene: Scene) -> Page:
    return scene.open("/login/", as_person="lilei")


def admin_login(scene: Scene) -> Page:
    return scene.open("/admin/")


def not_staff(scene: Scene) -> Page:
    return scene.open("/admin/login/", as_person="lilei")


# --- Pages of a person ------------------------------------------------------------------------------------------------


def home(scene: Scene) -> Page:
    make_bi()
    make_messages(scene.rows.person)
    return scene.open("/", as_person="lilei")


def home_empty(scene: Scene) -> Page:
    Receipt.objects.all().delete()
    return scene.open("/", as_person="lilei")


def home_empty_staff(scene: Scene) -> Page:
    Receipt.objects.all().delete()
    return scene.open("/", as_person="root")


def home_search(scene: Scene) -> Page:
    make_messages(scene.rows.person)
    return scene.open("/?q=%E5%8D%8E%E4%B8%9C", as_person="lilei")


def home_search_without_hit(scene: Scene) -> Page:
    make_messages(scene.rows.person)
    return scene.open("/?q=%E5%BA%93%E5%AD%98%E5%91%A8%E8%BD%AC", as_person="lilei")


def message_text(scene: Scene) -> Page:
    return _message(scene, "text", REPORT)


def message_markdown(scene: Scene) -> Page:
    return _message(scene, "markdown", MARKDOWN)


def message_card(scene: Scene) -> Page:
    return _message(scene, "textcard", "今日销售额 128 万元。", link="https://bi.example.com/page/sales")


def message_not_yours(scene: Scene) -> Page:
    return scene.open("/m/" + "0" * 32 + "/", as_person="lilei")


def subscriptions(scene: Scene) -> Page:
    make_subscriptions(scene.rows.person)
    return scene.open("/subscriptions/", as_person="lilei")


def subscriptions_empty(scene: Scene) -> Page:
    Subscription.objects.all().delete()
    return scene.open("/subscriptions/", as_person="lilei")


def subscription_paused(scene: Scene) -> Page:
    make_subscriptions(scene.rows.person)
    page = scene.open("/subscriptions/", as_person="lilei")
    page.get_by_role("button", name="Pause" if _is_english(page) else "暂停").first.click()
    return page


def account(scene: Scene) -> Page:
    agents = (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36 Edg/126.0",
        "Mozilla/5.0 (Windows NT 6.2; WOW64) Chrome/53.0.2785.116 Safari/537.36 wxwork/4.1.22",
        "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1",
    )
    for hours, agent in enumerate(agents, start=1):
        client = Client(HTTP_USER_AGENT=agent)
        client.force_login(scene.rows.person, backend="accounts.authentication.backends.WeComBackend")
        used_at = timezone.now() - timedelta(hours=20 * hours)
        SignedInSession.objects.create(
            user=scene.rows.person, session_key=stored_key(str(client.session.session_key)), began_at=used_at,
            last_used_at=used_at, user_agent=agent, corp=scene.corp if hours == 2 else None,
        )  # fmt: skip
    page = scene.open("/", as_person="lilei")
    page.goto(f"{scene.base}/account/")
    return page


def account_unlinked(scene: Scene) -> Page:
    WeComAccount.objects.filter(user=scene.rows.person).delete()
    client = Client(HTTP_USER_AGENT=WECOM)
    client.force_login(scene.rows.person, backend="django.contrib.auth.backends.ModelBackend")
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    scene.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": scene.base}])
    page = scene.open("/")
    page.goto(f"{scene.base}/account/")
    return page


# --- Error pages ------------------------------------------------------------------------------------------------------

OF_NOBODY = {Cause.UNKNOWN_COMPANY}
NAMING = {Cause.NOT_LINKED, Cause.COMPANY_MISSING, Cause.OUT_OF_SCOPE, Cause.NOT_ADMITTED, Cause.USER_DISABLED}


def _error_page(cause: Cause) -> Draw:
    def draw(scene: Scene) -> Page:
        found = ErrorDetails(cause, corp_id=scene.corp.pk, corp_name=scene.corp.name, target="/m/1/")
        if cause in OF_NOBODY:
            found = ErrorDetails(cause)
        if cause in NAMING:
            found = replace(found, userid="HanMeimei")
        if cause is Cause.OTHER_COMPANY:
            found = replace(found, userid="ww9876543210fedcba/HanMeimei")
        if cause is Cause.IP_NOT_TRUSTED:
            found = replace(
                found, caller_ip="203.0.113.9", errcode=60020, operation="auth/getuserinfo", hint="[1764000000_ab12]"
            )
        if cause is Cause.MISCONFIGURED:
            found = replace(found, errcode=40001, operation="gettoken", hint="[1764000000_ab12]")
        return scene.open(f"/login/trouble/?{urlencode({'t': errors.seal(found)})}")

    return draw


def _bi(draw: Callable[[Scene], str]) -> Draw:
    return lambda scene: scene.open(draw(scene), as_person="lilei")


def _bi_off(_scene: Scene) -> str:
    return "/bi/page/p1"


def _bi_no_page(_scene: Scene) -> str:
    make_bi()
    return "/bi/a%2F%2Fb"


def _bi_not_allowed(_scene: Scene) -> str:
    make_bi()
    Corp.objects.update(bi_sign_in_enabled=False)
    return "/bi/page/p1"


def _bi_no_external_id(_scene: Scene) -> str:
    make_bi(external_id_source="email")
    return "/bi/page/p1"


def _bi_unusable(_scene: Scene) -> str:
    make_bi(key_saved_at=None)
    return "/bi/page/p1"


def no_such_page(scene: Scene) -> Page:
    return scene.open("/no-such-page/")


def no_such_page_signed_in(scene: Scene) -> Page:
    return scene.open("/no-such-page/", as_person="lilei")


def forbidden(scene: Scene) -> Page:
    """A person of the administration who has no right to this page of it."""
    User.objects.filter(username="lilei").update(is_staff=True)
    return scene.open("/admin/auth/group/", as_person="lilei")


def csrf_refused(scene: Scene) -> Page:
    page = scene.open("/login/")
    page.evaluate("document.querySelectorAll('[name=csrfmiddlewaretoken]').forEach((one) => { one.value = 'x'; })")
    _try_password(page, "lilei", "wrong")
    return page


def broken(scene: Scene) -> Page:
    page = scene.open("/login/")
    with override("en" if _is_english(page) else "zh-hans"):
        text = render_to_string("500.html")
    page.route("**/broken/", lambda route: route.fulfill(status=500, body=text, content_type="text/html"))
    page.goto(f"{scene.base}/broken/")
    return page


def _is_english(page: Page) -> bool:
    return page.locator("html").get_attribute("lang") == "en"


def _message(scene: Scene, form: str, text: str, link: str = "") -> Page:
    row = make_message(scene.rows.person, form, "华东区门店日报", text, link)
    return scene.open(f"/m/{row.mark}/", as_person="lilei")


def _try_password(page: Page, username: str, password: str) -> None:
    page.fill("#login-form [name=username]", username)
    page.fill("#login-form [name=password]", password)
    page.click("#login-form [type=submit]")


PAGES: dict[str, Draw] = {
    one.__name__: one
    for one in (
        login_one, login_loading, login_panel_failed, login_several, choose_company, choose_among_many,
        choose_without_hit,
        choose_none, declined, signed_out, signed_out_everywhere, help_open, wrong_password, locked_out,
        login_without_companies, login_without_passwords, login_without_anything, login_signed_in, admin_login,
        not_staff, home, home_empty, home_empty_staff, home_search, home_search_without_hit, message_text,
        message_markdown, message_card, message_not_yours, subscriptions, subscription_paused, subscriptions_empty,
        account, account_unlinked, no_such_page, no_such_page_signed_in,
        forbidden, csrf_refused, broken,
    )
} | {
    f"error_{cause}": _error_page(cause) for cause in Cause if not cause.startswith("bi-")
} | {
    f"error_{name}": _bi(draw)
    for name, draw in {
        "bi-off": _bi_off, "bi-no-page": _bi_no_page, "bi-not-allowed": _bi_not_allowed,
        "bi-no-external-id": _bi_no_external_id, "bi-unusable": _bi_unusable,
    }.items()
}  # fmt: skip
