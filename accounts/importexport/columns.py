"""Recognises the columns of a sheet: our own format, WeCom's console export, the BI's user list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext

from accounts.audit.signals import label_of_field
from accounts.importexport.rows import FileRefusedError
from accounts.models import Attribute, User, WeComAccount

ATTRIBUTE = "a:"
USERNAME, NAME, EMAIL, BIZ_MAIL, MOBILE, COMPANY, USERID = (
    *("username", "name", "email", "biz_mail", "mobile"),
    *("company", "userid"),
)
# As headers are written, in whatever letters and with whatever spaces. WeCom's console has written both 帐号 and 账号.
NAMES = {
    USERNAME: ("用户名", "username", "user name"),
    NAME: ("姓名", "full name", "name"),
    EMAIL: ("邮箱", "个人邮箱", "电子邮箱", "电子邮件", "电子邮件地址", "email", "e-mail", "email address"),
    BIZ_MAIL: ("企业邮箱", "business e-mail"),
    MOBILE: ("手机", "手机号", "手机号码", "mobile"),
    COMPANY: ("企业微信公司名称", "wecom company name"),
    USERID: ("帐号", "账号", "企业微信账号", "企业微信帐号", "wecom account", "userid"),
}
BI_LOGIN_NAMES = ("loginid", "login id", "bi loginid")
_TARGETS = {re.sub(r"\s", "", name): target for target, names in NAMES.items() for name in names}
RESERVED = frozenset(_TARGETS)
# Marks of columns that must be filled in.
_MARKS = re.compile(r"[*＊]|[(（](必填|选填|required)[)）]")  # noqa: RUF001  # full-width on purpose
_BLANK = re.compile(r"[\s\u200b\ufeff]")


class Layout(StrEnum):
    OWN = "own"
    WECOM = "wecom"
    BI = "bi"


@dataclass(frozen=True, slots=True)
class Header:
    """`columns`: by what it means, the column. `titles`: the headers as they stand there, with what they mean."""

    line: int
    layout: Layout
    columns: dict[str, int]
    titles: list[tuple[str, str]]


def folded(title: str) -> str:
    """A column's title for comparison: in lower case, without blanks and marks."""
    return _BLANK.sub("", _MARKS.sub("", title)).lower()


def target_of(attribute: Attribute) -> str:
    """What a column of `attribute` means, as Header.columns names it."""
    return f"{ATTRIBUTE}{attribute.key}"


class Recogniser:
    """Knows the attributes of one moment."""

    def __init__(self, attributes: Iterable[Attribute]) -> None:
        self._targets = dict(_TARGETS)
        self._login = ""
        for attribute in attributes:
            names = [attribute.key, attribute.name]
            if attribute.is_bi_login_id:
                names += BI_LOGIN_NAMES
                self._login = target_of(attribute)
            for name in names:
                self._targets.setdefault(folded(name), target_of(attribute))

    def header(self, line: int, texts: Sequence[str]) -> Header | None:
        """None where the row is no header: whom it is about, and one thing more, have to be there.

        Raises FileRefusedError for a column that comes twice.
        """
        titles = [(text, self._targets.get(folded(text), "")) for text in texts]
        known = [target for _title, target in titles if target]
        layout = self._layout(known)
        if layout is None or len(set(known)) < 2:
            return None
        twice = next((title for title, target in titles if target and known.count(target) > 1), None)
        if twice is not None:
            raise FileRefusedError("column_twice", column=twice)
        columns = {target: column for column, (_title, target) in enumerate(titles) if target}
        return Header(line, layout, columns, [(title, target) for title, target in titles if title])

    def _layout(self, known: Sequence[str]) -> Layout | None:
        if USERNAME in known:
            return Layout.OWN
        if USERID in known:
            return Layout.WECOM
        return Layout.BI if self._login and self._login in known else None


def read_attribute_names() -> dict[str, str]:
    """Map what a column means to the name of its attribute."""
    return {f"{ATTRIBUTE}{key}": name for key, name in Attribute.objects.values_list("key", "name")}


def name_column(target: str, attribute_names: dict[str, str]) -> str:
    """Say what a column means, in the active language. `attribute_names`: of read_attribute_names()."""
    if target in attribute_names:
        return attribute_names[target]
    if target in {COMPANY, USERID}:
        return label_of_field(WeComAccount, "corp" if target == COMPANY else "userid")
    if target == BIZ_MAIL:
        return gettext("business e-mail")
    return target.removeprefix(ATTRIBUTE) if target.startswith(ATTRIBUTE) else label_of_field(User, target)
