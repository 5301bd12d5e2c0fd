"""The connection with the BI: single sign-on to its pages, a test of the connection, and pictures of its pages.

A page of the BI has an address on this site, /bi/<page>. Links, sign-ins and messages hold only this address; the BI's
own address with a token is made when somebody clicks (docs/decisions/0016).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.urls import Resolver404, resolve
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from integrations.clients import guandata_sso, snapshots
from integrations.clients.errors import ConfigurationError, IntegrationError, UnreadableSecretError
from integrations.clients.guandata import NO_APPLICATION, make_token_key
from integrations.clients.guandata_sso import (
    ID,
    build_sign_in_url,
    encode_path,
    encrypt_claims,
    has_reserved_parameter,
    merge_query,
    remove_reserved_parameters,
)
from integrations.clients.network import parse_http_date
from integrations.clients.snapshots import Access, Picture, PictureOptions, PictureProblem, SnapshotError
from integrations.clients.supervised_browser import SupervisedBrowser
from integrations.core import client_factory, hooks
from integrations.core.background import Clock
from integrations.core.client_factory import bi_token_store, forget_tokens, trial_guandata_client
from integrations.core.http import is_own_page, is_plain
from integrations.core.validators import remove_invisible
from integrations.jobs import requests
from integrations.jobs.registry import job_kind
from integrations.jobs.runner import JobRun
from integrations.models import BiConnection, DataSource, Job, SourceKind
from integrations.models.fields import require_readable
from integrations.models.installation import SINGLETON_PK

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from django.utils.functional import _StrPromise

    from integrations.models.fields import Person


ROOT = "/bi/"
# Encrypted columns, which are loaded only where they are used.
SECRETS = ("private_key", "api_password", "app_token", "proxy_url")


class Obstacle(StrEnum):
    """The reason why somebody cannot enter the BI."""

    OFF = "off"
    NO_ADDRESS = "no-address"
    NO_KEY = "no-key"
    KEY_UNREADABLE = "key-unreadable"
    NO_SOURCE = "no-source"
    NO_EXTERNAL_ID = "no-external-id"
    NO_PAGE = "no-page"


class CannotEnter(Exception):
    """The person cannot enter the BI. `source`: the kind of value that the person lacks, if that is the reason."""

    def __init__(self, obstacle: Obstacle, source: hooks.ExternalId | None = None) -> None:
        super().__init__(obstacle.value)
        self.obstacle = obstacle
        self.source = source


def load_connection() -> BiConnection:
    """Return the saved connection, or an empty one. Its secrets are deferred."""
    return BiConnection.objects.defer(*SECRETS).filter(pk=SINGLETON_PK).first() or BiConnection()


def load_enabled_connection() -> BiConnection:
    """Return the saved connection. Raises CannotEnter unless people enter the BI from here."""
    saved = load_connection()
    if not saved.is_enabled:
        raise CannotEnter(Obstacle.OFF)
    return saved


def is_open() -> bool:
    """Return whether people enter the BI from here."""
    return BiConnection.objects.filter(pk=SINGLETON_PK, is_enabled=True).exists()


def build_own_address(page: str) -> str:
    """Return this site's address of the BI's `page`, a path with its query; empty for the first page."""
    return ROOT + page.lstrip("/")


def find_landing_page(page: str) -> str:
    """Return the target of a link to `page` (a path from the root): a page of this site, else the BI's if it is open.

    This site's pages take precedence, because WeCom's menus may link to them before a BI is connected.
    """
    if page == "/" or is_page_of_this_site(page) or not is_open():
        return page
    address = build_own_address(page)
    return address if is_own_page(address) else "/"


def is_page_of_this_site(page: str) -> bool:
    """Return whether this site has a page of this path, with or without a trailing slash."""
    path = urlsplit(page).path
    for spelling in (path, f"{path}/"):
        with suppress(Resolver404):
            return bool(resolve(spelling))
    return False


def find_page_address(saved: BiConnection, requested: str, query: str, *, on_phone: bool) -> str:
    """Return the BI's address of the requested page for the device, with the query of the request.

    `requested`: a path without its first slash, decoded; empty for the first page. `query`: not decoded. Parameters
    that the sign-in reserves are removed from it and from the connection's own addresses, in every spelling.
    """
    own_query = remove_reserved_parameters(query)
    home = saved.phone_home if on_phone else saved.desktop_home
    if not requested:
        return merge_query(home, own_query)
    # The BI serves these paths only through its first page.
    if requested.split("/", 1)[0] in {word.strip(" /") for word in saved.routed_paths.split(",")} - {""}:
        inner = merge_query(encode_path(requested), own_query)
        return merge_query(home, f"path_url={quote(inner, safe='')}")
    for known in filter(None, (saved.desktop_page, saved.phone_page)):
        pattern = re.escape(known.partition("?")[0].lstrip("/")).replace(re.escape(ID), "(?P<id>[^/?#]+)")
        if match := re.fullmatch(f"{pattern}/?", requested):
            template = (saved.phone_page if on_phone else "") or saved.desktop_page
            return merge_query(template.replace(ID, quote(match["id"], safe="")), own_query)
    return merge_query("/" + encode_path(requested), own_query)


def build_entrance(
    saved: BiConnection,
    identity: Callable[[], str],
    *,
    now: datetime,
    page: str = "",
    query: str = "",
    on_phone: bool = False,
) -> str:
    """Return the BI's address that signs `identity` in and shows `page`, with a token of a few seconds.

    Use the address only in the Location of a redirect or in our own browser: never store, show or log it. `identity` is
    called after all checks but that of the key. `page`: decoded, without its first slash; `query`: not decoded. Raises
    CannotEnter.
    """
    if not saved.base_url:
        raise CannotEnter(Obstacle.NO_ADDRESS)
    if not is_safe_page(page, query):
        raise CannotEnter(Obstacle.NO_PAGE)
    address = find_page_address(saved, page, query, on_phone=on_phone)
    if has_reserved_parameter(address):  # in the path, from which nothing is removed
        raise CannotEnter(Obstacle.NO_PAGE)
    token = encrypt_claims(
        external_user_id=identity(),
        key=read_private_key(saved),
        issued_at=int(now.timestamp()),
        lifetime_seconds=saved.token_seconds,
        domain_id=saved.domain_id,
    )
    return build_sign_in_url(base_url=saved.base_url, page=address, provider=saved.provider, token=token)


def is_safe_page(page: str, query: str) -> bool:
    """Return whether the BI may be asked for the page: browsers and servers must read it in the same way."""
    try:
        query.encode("ascii")
    except UnicodeEncodeError:
        return False
    return is_plain(query) and " " not in query and is_own_page(ROOT + encode_path(page))


def find_external_id(saved: BiConnection, person: Person) -> str:
    """Return the person's identity in the BI. Raises CannotEnter, with the missing value."""
    source = hooks.find_external_id_by_key(saved.external_id_source)
    if source is None:
        raise CannotEnter(Obstacle.NO_SOURCE)
    external_id = source.find_value(person)
    if not external_id:
        raise CannotEnter(Obstacle.NO_EXTERNAL_ID, source)
    return external_id


def read_private_key(saved: BiConnection) -> RSAPrivateKey:
    """Return the private key. Raises CannotEnter."""
    if not saved.has_key:
        raise CannotEnter(Obstacle.NO_KEY)
    try:
        return guandata_sso.load_private_key(require_readable(saved.private_key))
    except (UnreadableSecretError, guandata_sso.KeyRefusedError) as error:
        raise CannotEnter(Obstacle.KEY_UNREADABLE) from error


def parse_page(typed: str, saved: BiConnection) -> str:
    """Return the stored form of a typed or copied page of the BI: a path without its first slash.

    Empty for the first page. Raises ValidationError, with a sentence.
    """
    text = remove_invisible(typed)
    path = strip_base_url(text, saved)
    if path is None and "://" in text:
        raise ValidationError(_("This address is not the BI's. Copy it from the BI, or write a path as page/abc."))
    page = (text if path is None else path).lstrip("/")
    inner, _mark, query = page.partition("?")
    if "#" in page or not is_safe_page(unquote(inner), query):
        raise ValidationError(_("This is no path of a page in the BI. Write it as page/abc."))
    return page


def parse_link_page(typed: str, saved: BiConnection) -> str | None:
    """Return the page for a link from an address that was copied from the BI; None for any other text.

    For the first page, and if this site has a page of the same path, the result begins with bi/, which leads to the BI.
    """
    if strip_base_url(typed, saved) is None:
        return None
    page = parse_page(typed, saved)
    return page if page and not is_page_of_this_site(f"/{page}") else build_own_address(page).lstrip("/")


def strip_base_url(typed: str, saved: BiConnection) -> str | None:
    """Return the part of `typed` after the BI's address; None for another address."""
    base = saved.base_url
    if not base or not typed.lower().startswith(base.lower()):
        return None
    rest = typed[len(base) :]
    return rest if rest[:1] in ("", "/", "?") else None


# The results of a test depend on these fields.
CONNECTION_FIELDS = frozenset(
    {
        "base_url",
        "provider",
        "domain_id",
        "external_id_source",
        "private_key",
        "token_seconds",
        "api_domain",
        "api_login",
        "api_password",
        "app_token",
        "proxy_url",
        "ca_bundle",
    }
)


def ensure_connection() -> BiConnection:
    """Return the one row; create it if it is missing."""
    return BiConnection.objects.get_or_create(pk=SINGLETON_PK)[0]


def save_connection(*, connection: BiConnection, changed_fields: Collection[str]) -> None:
    """Save the changed fields. If the connection changes, its last test is out of date, and its API token dropped."""
    if CONNECTION_FIELDS.isdisjoint(changed_fields):
        connection.save(update_fields=[*changed_fields, "changed_at"])
        return
    before = BiConnection.objects.get(pk=connection.pk)
    connection.connection_version = F("connection_version") + 1  # concurrent saves must not lose an increment
    connection.save(update_fields=[*changed_fields, "connection_version", "changed_at"])
    connection.refresh_from_db(fields=["connection_version"])
    # The API users of the former connection and of this one.
    users = {make_token_key(one.base_url, one.api_domain, one.api_login) for one in (before, connection)}
    transaction.on_commit(lambda: forget_tokens(bi_token_store(), [(user, NO_APPLICATION) for user in users]))


def ensure_source(connection: BiConnection) -> DataSource | None:
    """Create the data source of the BI's cards. Return None if the BI's API is not set up yet, or if there is such a
    source already. The source belongs to no company, like the connection.
    """
    can_ask = connection.base_url and connection.api_login and connection.api_password and connection.app_token
    if not can_ask or DataSource.objects.filter(kind=SourceKind.GUANDATA).exists():
        return None
    name = _("Guandata BI")
    taken = set(DataSource.objects.filter(name__startswith=name).values_list("name", flat=True))
    names = (name, *(f"{name} ({number})" for number in range(2, len(taken) + 2)))
    return DataSource.objects.create(name=next(each for each in names if each not in taken), kind=SourceKind.GUANDATA)


def generate_key(*, now: datetime) -> None:
    """Generate a new key pair in place of the present one. Nobody enters the BI until the BI has its public key."""
    save_key(guandata_sso.generate_private_key(), now=now)


def save_key(pem: str, *, now: datetime) -> None:
    """Save a private key, whose public key the BI needs."""
    connection = ensure_connection()
    connection.private_key, connection.key_saved_at = pem, now
    save_connection(connection=connection, changed_fields={"private_key", "key_saved_at"})


def format_public_keys(connection: BiConnection) -> tuple[str, str] | None:
    """Return the public key as one line and as PEM, to paste into the BI; None without a readable key."""
    try:
        key = read_private_key(connection)
    except CannotEnter:
        return None
    return guandata_sso.format_public_line(key), guandata_sso.format_public_key(key)


TEST = "bi.test"
OK, UNCLEAR, WARNING, WRONG = "ok", "unclear", "warning", "wrong"
# Parts of the address to which a BI redirects people who are not signed in.
_SIGN_IN_WORDS = ("login", "signin", "sign-in", "passport")
_REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


def request_test(*, by: Person, now: datetime) -> Job:
    """Request a test of the saved connection. The token is tried for `by`."""
    return requests.request_job(TEST, key=SINGLETON_PK, by=by, now=now)


@job_kind(
    TEST,
    label=gettext_lazy("Test of the connection to the BI"),
    explain=lambda _job: "",  # its findings say what is wrong; the job itself does not fail
    see="integrations.change_biconnection",
    retry="integrations.change_biconnection",
)
def test_connection(run: JobRun) -> dict[str, Any]:
    """Test every step and save the findings with the connection's version. Steps that are not set up are left out, and
    so are all others if the address is wrong."""
    saved = ensure_connection()
    findings = [_test_address(saved, run.clock)]
    if findings[0]["status"] != WRONG:
        if saved.has_key or saved.is_enabled:
            findings.append(_test_token(saved, run))
        client = trial_guandata_client(saved)
        for step, is_set in (("api", saved.api_login and saved.api_password), ("pages", saved.app_token)):
            if not is_set:
                continue
            try:
                if step == "api":
                    client.fetch_token()
                    findings.append(_make_finding(step, OK, "accepted"))
                else:
                    findings.append(_make_finding(step, OK, "accepted", count=len(client.page_list())))
            except IntegrationError as error:
                findings.append(_make_finding(step, WRONG, "refused", message=error.message))
    BiConnection.objects.filter(pk=saved.pk).update(
        checked_at=run.clock(), checked_version=saved.connection_version, check_results=findings
    )
    return {}


def _make_finding(step: str, status: str, outcome: str, /, **facts: Any) -> dict[str, Any]:
    """Return a finding of the test. `step`: a key of STEPS. `outcome`: selects the sentence (explain_outcomes)."""
    return {"step": step, "status": status, "outcome": outcome, "facts": facts}


def _test_address(saved: BiConnection, clock: Clock) -> dict[str, Any]:
    """Test whether the BI answers with a trusted certificate, and whether its clock agrees with ours."""
    if not saved.base_url:
        return _make_finding("address", WRONG, "missing")
    try:
        answer = trial_guandata_client(saved).open_page("/")
    except IntegrationError as error:
        outcome = "not-usable" if isinstance(error, ConfigurationError) else "unreachable"
        return _make_finding("address", WRONG, outcome, reason=error.message)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _make_finding("address", WARNING, "server-error", status=answer.status)
    bi_time = parse_http_date(answer.headers.get("Date", ""))
    difference = 0 if bi_time is None else round(abs((clock() - bi_time).total_seconds()))
    if difference >= saved.token_seconds:
        return _make_finding("address", WRONG, "clocks", seconds=difference, life=saved.token_seconds)
    return _make_finding("address", OK, "reached", status=answer.status)


def _test_token(saved: BiConnection, run: JobRun) -> dict[str, Any]:
    """Test a token for the person who requested the test."""
    person = get_user_model()._default_manager.filter(pk=run.job.asked_by_id or 0, is_active=True).first()
    try:
        identity = "" if person is None else find_external_id(saved, person)
    except CannotEnter:
        identity = ""
    if not identity:
        return _make_finding("token", WRONG, Obstacle.NO_EXTERNAL_ID)
    try:
        address = build_entrance(saved, lambda: identity, now=run.clock())
        answer = trial_guandata_client(saved).open_page(address.removeprefix(saved.base_url))
    except CannotEnter as refusal:
        return _make_finding("token", WRONG, refusal.obstacle)
    except IntegrationError as error:
        return _make_finding("token", WARNING, "no-answer", reason=error.message)
    facts = {"status": answer.status, "as": identity}
    path = urlsplit(answer.headers.get("Location", "")).path.lower()
    if answer.status in _REFUSALS or any(word in path for word in _SIGN_IN_WORDS):
        return _make_finding("token", WRONG, "refused", **facts)
    if answer.status >= HTTPStatus.BAD_REQUEST:
        return _make_finding("token", WRONG, "not-taken", **facts)
    return _make_finding("token", UNCLEAR, "not-refused", **facts)


STEPS: dict[str, _StrPromise] = {
    "address": gettext_lazy("Address"),
    "token": gettext_lazy("Sign-in token"),
    "api": gettext_lazy("API user"),
    "pages": gettext_lazy("App token"),
}
TONES = {"ok": "good", "unclear": "quiet", "warning": "warn", "wrong": "bad"}
# Where the public key is entered in the BI, in the BI's words.
PLACE_OF_KEY = "管理中心 → 系统集成 → 单点登录"


def explain_findings(findings: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Explain the findings of a test, in order: `label`, `tone` (good, quiet, warn or bad) and `sentence`. A finding
    without a sentence is left out."""
    sentences = explain_outcomes()
    return [
        {
            "label": str(STEPS[finding["step"]]),
            "tone": TONES[finding["status"]],
            "sentence": sentences[finding["step"], finding["outcome"]] % finding["facts"],
        }
        for finding in findings
        if (finding.get("step"), finding.get("outcome")) in sentences
    ]


def explain_obstacles() -> dict[Obstacle, str]:
    """Return a sentence for each reason why an administrator who tests cannot enter the BI."""
    return {
        Obstacle.OFF: _("Sign-in to the BI is switched off."),
        Obstacle.NO_ADDRESS: _("The address of the BI is missing. Enter and save it above."),
        Obstacle.NO_KEY: _("There is no key pair yet. Generate one, and paste its public key into the BI."),
        Obstacle.KEY_UNREADABLE: _(
            "The saved private key cannot be read: a key is missing in FIELD_ENCRYPTION_KEYS. Restore it, or generate "
            "a new pair and paste its public key into the BI."
        ),
        Obstacle.NO_SOURCE: _(
            "The value that identifies people in the BI does not exist any more. Choose another above and save."
        ),
        Obstacle.NO_EXTERNAL_ID: _(
            "You have no “%(missing)s” that is yours alone. Set it on your own page under People, then test again."
        ),
        Obstacle.NO_PAGE: _("There is no such page."),
    }


def explain_outcomes() -> dict[tuple[str, str], str]:
    """Return a sentence for each step and outcome of the test, with places for the facts of a finding."""
    obstacles = explain_obstacles()
    return {
        ("address", "missing"): obstacles[Obstacle.NO_ADDRESS],
        ("address", "reached"): _("The BI answers (HTTP %(status)s)."),
        ("address", "server-error"): _("The BI answers with an error of its own (HTTP %(status)s)."),
        ("address", "unreachable"): _(
            "This server does not reach the BI: %(reason)s. Check the address, the firewall and the proxy. People "
            "whose browsers reach it can still enter."
        ),
        ("address", "not-usable"): _(
            "The BI cannot be asked: %(reason)s. Check the address, the proxy and the CA bundle."
        ),
        ("address", "clocks"): _(
            "The clocks of this server and of the BI differ by %(seconds)s seconds, and a token lives %(life)s: the BI "
            "takes it for expired. Set the clocks (NTP), or let tokens live longer."
        ),
        ("token", "no-answer"): _("The BI gave no answer to a token: %(reason)s."),
        ("token", "refused"): _(
            "The BI refuses a token for “%(as)s” (HTTP %(status)s). The usual reasons: the public key there is not the "
            "one here, the name of the provider differs, or no account there has this name."
        ),
        ("token", "not-taken"): _(
            "The BI does not take the address with a token (HTTP %(status)s). Check the first page and the name of the "
            "provider."
        ),
        ("token", "not-refused"): _(
            "The BI does not refuse a token for “%(as)s” (HTTP %(status)s). Some versions show their sign-in page with "
            "the same answer: look with the button above whether you are signed in."
        ),
        **{("token", each.value): text % {"missing": "externalUserId"} for each, text in obstacles.items()},
        ("api", "accepted"): _("The BI signs the API user in."),
        ("api", "refused"): _("The BI refuses the API user: %(message)s"),
        ("pages", "accepted"): _("The app token lists %(count)s pages."),
        ("pages", "refused"): _("The BI refuses the app token: %(message)s"),
    }


# A BI whose first page takes longer counts as unreachable for pictures of all pages.
ALIVE_WITHIN_SECONDS = 5


# The only browser of this process, by its arguments. It signs in anew for each picture.
_browsers: dict[tuple[str, Access], SupervisedBrowser] = {}


def take_picture(path: str, identity: str, options: PictureOptions, *, now: datetime) -> Picture:
    """Take a picture of a page as `identity` sees it in the BI, in up to 60 s; longer if the browser starts or hangs.

    `path`: of a page or card, without its first slash. Raises SnapshotError and CannotEnter.
    """
    saved = load_enabled_connection()
    try:
        on_phone = options.width == snapshots.Width.PHONE
        address = build_entrance(saved, lambda: identity, page=path, on_phone=on_phone, now=now)
        selectors = {mark.lower(): selector for mark, selector in settings.SNAPSHOT_SELECTORS.items() if selector}
        hosts = (snapshots.read_host(saved.base_url), *settings.SNAPSHOT_HOSTS)
        access = Access(hosts, proxy_url=require_readable(saved.proxy_url), time_zone=settings.TIME_ZONE)
        program = snapshots.find_installed_browser()
        if not program:
            raise SnapshotError(PictureProblem.NOT_INSTALLED)
        if (program, access) not in _browsers:  # another connection needs a new browser, which reaches only its hosts
            while _browsers:
                _browsers.popitem()[1].close()
            _browsers[program, access] = SupervisedBrowser(program, access)
        return _browsers[program, access].take_picture(address, options, snapshots.PageMarks(**selectors))
    except SnapshotError as error:
        if error.reason == PictureProblem.UNREACHABLE:
            with suppress(IntegrationError):
                answer = client_factory.guandata_client(saved, total_seconds=ALIVE_WITHIN_SECONDS).open_page("/")
                # If only this page does not answer, pictures of other pages need not wait.
                if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise SnapshotError(PictureProblem.ERROR_PAGE) from error
        raise
