"""The words of every page of the administration in Chinese: no English but names, and no sentence of Django's own."""

import re
from html import unescape
from pathlib import Path

import django
import pytest
from babel.messages.pofile import read_po
from pytest_django import Settings

from tests.admin_table import TABLE, Row
from tests.admin_world import World
from tests.test_admin_matrix import is_page, read_text

pytestmark = pytest.mark.django_db
# Scripts, terminals, the choice of a language, and the names of time zones and columns.
SILENT = re.compile(
    r"<(script|style|template|pre|code|datalist)\b.*?</\1>|<select[^>]*name=\"timezone\".*?</select>|<option.*?</option>",
    re.DOTALL,
)
# Attributes that people read, or hear from a screen reader. guanwecom/names.js replaces the texts of icons.
NAMED = re.compile(r'\b(?:title|placeholder|aria-label)="([^"]*)"')
WORD = re.compile(r"(?<![\w/.@:=#$&-])[A-Za-z][A-Za-z'’]+(?![\w/.@:=(-])")
# Products, protocols and terms that Chinese writes so, with the world's own names.
NAMES = set(
    re.findall(
        r"\S+",
        """
        guanwecom English BI API URL http https HTTP HTTPS JSON SQL ID IP DNS MB Web Secret Token AgentId CorpId
        EncodingAESKey Webhook csv CSV xlsx Excel PDF Markdown PEM PKCS POST GET Linux PostgreSQL MySQL MariaDB Chromium
        JMESPath Authorization Basic Bearer SMTP HMAC SaaS SDK App Grafana Alertmanager Jenkins Notification GitLab
        GitHub Metabase Superset DolphinScheduler Nightingale loginId userid agentid access_token text number percent
        ratio boolean date datetime txt email externalUserId domainId ssoToken provider dynamicParams filterType
        filterValue GRID GRAPH MM DD HH YYYY mm CA Alpha Beta Company Region Lone sales data card group rule alert
        channel report subscription message member department task mail entry people token figures worker morning
        readers back source test alpha region SA IA PA RA domain Date zhangsan BEGIN END IN name amount sum avg min max
        top bottom head last day days week month quarter year ddd unit empty within as webhook
        """,
    )
)
# Words that no page says, whatever stands around them.
NEVER = re.compile(r"\b(?:False|None|True|[Cc]eler[y]|[Cc]rontab|Ctrl|Control)\b|(?<![\w-])[Bb]eat(?![\w-])")
# The page of operation names processes; the others show a code or the names of time zones as they are.
EXEMPT = {"maintenance", "notifications_inboundchannel_change", "integrations_biconnection_change"}


def list_django_sentences() -> set[str]:
    """Return Django's own Chinese sentences: translations of at least eight characters without a gap."""
    found = set()
    for app in ("admin", "auth"):
        path = Path(django.__file__).parent / f"contrib/{app}/locale/zh_Hans/LC_MESSAGES/django.po"
        with path.open("rb") as file:
            catalogue = read_po(file, locale="zh_Hans")
        for one in catalogue:
            texts = [one.string] if isinstance(one.string, str) else list(one.string or ())
            found |= {text for text in texts if len(text) >= 8 and "%" not in text and "{" not in text}
    return found


def read_words(html: str) -> list[str]:
    """Return the pieces of text that a person reads on a page."""
    html = SILENT.sub(" ", html)
    pieces = [*re.sub(r"<[^>]*>", "\n", html).split("\n"), *NAMED.findall(html)]
    return [" ".join(unescape(one).split()) for one in pieces if one.strip()]


ROWS = [row for row in TABLE if is_page(row)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_a_page_says_what_it_says_in_chinese(row: Row, world: World, settings: Settings) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]
    answer = world.client("U").get(row.path(world), headers={"accept-language": "zh-hans"})
    if "html" not in answer.headers["Content-Type"]:
        return
    pieces = read_words(read_text(answer))

    of_django = list_django_sentences()
    assert [piece for piece in pieces if piece in of_django] == []
    if row.page not in EXEMPT:
        assert [piece for piece in pieces if NEVER.search(piece)] == []
        unknown = {word: piece for piece in pieces for word in WORD.findall(piece) if word not in NAMES}
        assert unknown == {}
