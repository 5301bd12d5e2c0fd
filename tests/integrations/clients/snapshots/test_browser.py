"""Pictures of pages of the sandbox's BI, taken by a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from integrations.clients import guandata_sso
from integrations.clients.guandata_sso import build_sign_in_url, encrypt_claims
from integrations.clients.snapshots import (
    Access,
    Options,
    PageMarks,
    Picture,
    Reason,
    SnapshotBrowser,
    SnapshotError,
    Theme,
    Width,
    host_of,
)
from tests.bi_pages import card, picture_of, rows_on
from tests.chromium import required_chromium
from tests.sandbox_process import SandboxHandle, start_sandbox

pytestmark = pytest.mark.e2e
KEY = guandata_sso.load_private_key(guandata_sso.generate_private_key())
MARKS = PageMarks(card=".bi-card")


PAGES = [
    {"page_id": "plain", "name": "平", "cards": [card(1)]},
    {"page_id": "late", "name": "晚", "cards": [card(2, draws_after=0.4), card(3, draws_after=1.5)]},
    {"page_id": "never", "name": "挂", "cards": [card(4), card(5, draws_after=None)]},
    {"page_id": "long", "name": "长", "cards": [card(number, draws_after=0.1) for number in range(10, 30)]},
    {"page_id": "endless", "name": "太长", "cards": [card(number) for number in range(30, 90)]},
    {"page_id": "empty", "name": "空"},
    {"page_id": "failed", "name": "错", "fails": True},
]
SEED = {
    "companies": [],
    "bi": {
        "provider": "Guan",
        "domain": "guanbi",
        "public_key": guandata_sso.format_public_line(KEY),
        "users": [{"login_id": "lilei", "sees": {"区域": ["华东"]}}, {"login_id": "hanmeimei"}],
        "pages": PAGES,
    },
}


@pytest.fixture(scope="module")
def bi() -> Iterator[SandboxHandle]:
    with start_sandbox(seed=SEED) as handle:
        yield handle


class InThread:
    """The browser in a thread of its own, because this one may already have playwright's event loop."""

    def __init__(self, executable: str, access: Access) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._browser = self._thread.submit(SnapshotBrowser, executable, access).result()

    def take(self, *args: Any, **options: Any) -> Picture:
        return self._thread.submit(self._browser.take, *args, **options).result()

    def close(self) -> None:
        self._thread.submit(self._browser.close).result()
        self._thread.shutdown()


@pytest.fixture(scope="module")
def snapshots(bi: SandboxHandle) -> Iterator[InThread]:
    opened = InThread(required_chromium(), Access(hosts=(host_of(bi.base_url),)))
    yield opened
    opened.close()


def address_of(bi: SandboxHandle, page: str, person: str = "hanmeimei", key: Any = KEY) -> str:
    now = int(bi.control("GET", "clock")["now"])
    token = encrypt_claims(key, external_user_id=person, issued_at=now, lifetime_seconds=60)
    return build_sign_in_url(base_url=f"{bi.base_url}/guandata", page=f"/page/{page}", provider="Guan", token=token)


def brightness(picture: Image.Image) -> int:
    """Return the brightness of a pixel near the lower left corner."""
    return picture.convert("L").crop((2, picture.height - 3, 3, picture.height - 2)).tobytes()[0]


def taken(snapshots: InThread, bi: SandboxHandle, page: str, **options: Any) -> bytes:
    person = options.pop("person", "hanmeimei")
    return snapshots.take(address_of(bi, page, person), Options(**options), MARKS, within_seconds=30).content


def refused(snapshots: InThread, address: str, *, marks: PageMarks = MARKS, seconds: float = 30) -> Reason:
    with pytest.raises(SnapshotError) as caught:
        snapshots.take(address, Options(), marks, within_seconds=seconds)
    assert "ssoToken" not in str(caught.value)
    return caught.value.reason


def test_a_picture_shows_what_its_person_sees_and_waits_for_cards_that_draw_late(
    snapshots: InThread, bi: SandboxHandle
) -> None:
    found = [rows_on(taken(snapshots, bi, "late", person=person)) for person in ("lilei", "hanmeimei", "lilei")]

    assert found == [2, 6, 2]


def test_widths_themes_and_the_cut_differ(snapshots: InThread, bi: SandboxHandle) -> None:
    desktop, phone = (
        picture_of(taken(snapshots, bi, "plain", is_cropped=False)),
        picture_of(taken(snapshots, bi, "plain", is_cropped=False, width=Width.PHONE)),
    )
    dark = picture_of(taken(snapshots, bi, "plain", is_cropped=False, theme=Theme.DARK))
    cropped = picture_of(taken(snapshots, bi, "plain"))

    assert (desktop.width, phone.width) == (2 * 1280, 2 * 390)
    assert brightness(dark) < 64 < 192 < brightness(desktop)
    assert cropped.height < desktop.height / 2


def test_a_cover_is_cut_from_the_upper_edge(snapshots: InThread, bi: SandboxHandle) -> None:
    taken_with = snapshots.take(address_of(bi, "long"), Options(cover_ratio=1068 / 455), MARKS, within_seconds=30)

    cover, whole = picture_of(taken_with.cover), picture_of(taken_with.content)
    assert rows_on(taken_with.content) == 60  # a long page is taken whole
    assert cover.width == pytest.approx(cover.height * 1068 / 455, rel=0.01)
    assert (whole.width, whole.height) == (2 * taken_with.width, 2 * taken_with.height)
    assert taken_with.height > taken_with.width * 455 / 1068


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("failed", Reason.ERROR_PAGE),
        ("gone", Reason.ERROR_PAGE),
        ("empty", Reason.EMPTY),
        ("endless", Reason.TOO_LARGE),
    ],
)
def test_what_is_no_dashboard_is_no_picture(snapshots: InThread, bi: SandboxHandle, page: str, reason: Reason) -> None:
    assert refused(snapshots, address_of(bi, page)) == reason


def test_a_page_that_has_changed_its_layout_or_never_draws_is_no_picture(
    snapshots: InThread, bi: SandboxHandle
) -> None:
    """Refuse the page, because none of its cards is found: nobody gets a part of it, or an empty one."""
    assert refused(snapshots, address_of(bi, "plain"), marks=PageMarks(card=".card-of-before")) == Reason.EMPTY
    assert refused(snapshots, address_of(bi, "never"), seconds=4) == Reason.NOT_DRAWN


def test_the_page_that_asks_for_a_password_is_no_picture(snapshots: InThread, bi: SandboxHandle) -> None:
    other = guandata_sso.load_private_key(guandata_sso.generate_private_key())

    assert refused(snapshots, address_of(bi, "plain", key=other)) == Reason.SIGN_IN_PAGE
    assert refused(snapshots, f"{bi.base_url}/guandata/page/plain") == Reason.SIGN_IN_PAGE


def test_the_sign_of_the_bi_itself_is_enough(snapshots: InThread, bi: SandboxHandle) -> None:
    marks = PageMarks(card=".bi-card", ready="#card-c4")

    picture = snapshots.take(address_of(bi, "never"), Options(), marks, within_seconds=30)
    assert picture.content.startswith(b"\x89PNG")


@pytest.mark.parametrize("address", ["http://localhost:9/", "file:///etc/passwd", "http://169.254.169.254/latest"])
def test_no_other_host_is_reached(snapshots: InThread, address: str) -> None:
    """Take other hosts for the sign-in of another system."""
    assert refused(snapshots, address) == Reason.SIGN_IN_PAGE
