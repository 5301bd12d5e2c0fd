"""Forms of data sources and cards. They never show stored secrets; a database URL is shown without its password."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.text import capfirst
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from integrations.admin.base import CertificatesField, SecretsMixin, TidyField, WriteOnlyInput
from integrations.clients.errors import UnreadableSecretError
from integrations.clients.expressions import InvalidExpressionError, check_expression
from integrations.clients.late import LazyModule
from integrations.clients.sources.addresses import (
    InvalidEntryError,
    find_backend,
    is_base_url,
    mask_address,
    parse_database_url,
    parse_headers,
    read_server,
    stays_below_base,
)
from integrations.core.admin_pages import VERSION, VersionedForm
from integrations.data import SourceError
from integrations.data.table_builder import COLUMNS_AT_MOST, KIND_CHOICES
from integrations.models import Card, Corp, DataSource, SourceKind
from integrations.models.datasources import describe_address_flaws, explain_problem
from integrations.models.fields import Person, Unreadable, corp_condition, require_readable

if TYPE_CHECKING:
    import sqlalchemy
    from django_stubs_ext import StrOrPromise

    from integrations.clients.sources import sql
else:
    sqlalchemy, sql = LazyModule("sqlalchemy"), LazyModule("integrations.clients.sources.sql")

# Kinds of databases with single fields, and their usual ports. Others are entered as one URL.
PORTS: Mapping[str, int] = {"postgresql": 5432, "mysql": 3306}
BY_ADDRESS = ""  # the choice of `db_kind` for a database that is entered as one URL
DATABASE_FIELDS = ("db_kind", "db_host", "db_port", "db_name", "db_user", "db_password")


def parse_saved_address(row: Any) -> sqlalchemy.URL | None:
    """Return the saved database URL if the single fields can show it. None for other kinds and if it cannot be
    decrypted."""
    if not row.sql_url or isinstance(row.sql_url, Unreadable):
        return None
    try:
        address = sqlalchemy.make_url(row.sql_url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return None
    return address if find_backend(row.sql_url) in PORTS else None


def _identify_account(address: sqlalchemy.URL) -> tuple[str, str, int, str]:
    """Return what a password belongs to: kind, host, port and user."""
    kind = find_backend(f"{address.drivername}://")
    return kind, (address.host or "").lower(), address.port or PORTS[kind], address.username or ""


_FILTER_KEYS = {"name", "filterType", "filterValue"}


class DataSourceForm(SecretsMixin, VersionedForm):
    """The form of a data source. `person`: the signed-in person; `shown`: fields on the page. The admin sets both.

    A database is entered in single fields or as one URL. An empty password keeps the saved one, unless kind, host, port
    or user change."""

    person: Person
    shown: Collection[str] = ()
    version_columns = ("sql_url", "http_headers")
    secrets = {"new_sql_url": ("sql_url", ""), "new_http_headers": ("http_headers", "remove_http_headers")}

    db_kind = forms.ChoiceField(
        label=capfirst(_("kind of database")),
        required=False,
        choices=[
            ("postgresql", "PostgreSQL"),
            ("mysql", "MySQL / MariaDB"),
            (BY_ADDRESS, _("another one: by its address below")),
        ],
    )
    db_host = TidyField(label=capfirst(_("host")), required=False, max_length=253)
    db_port = forms.IntegerField(
        label=capfirst(_("port")),
        required=False,
        min_value=1,
        max_value=65535,
        help_text=_("Empty: the default, 5432 for PostgreSQL and 3306 for MySQL."),
    )
    db_name = TidyField(label=capfirst(_("database")), required=False, max_length=128)
    db_user = TidyField(
        label=capfirst(_("user name")), required=False, max_length=128, help_text=_("Preferably it may only read.")
    )
    db_password = forms.CharField(label=capfirst(_("password")), required=False, widget=WriteOnlyInput)

    new_sql_url = forms.CharField(label=capfirst(_("address of the database")), required=False, widget=WriteOnlyInput)
    new_http_headers = forms.CharField(
        label=capfirst(_("headers")),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
    )
    remove_http_headers = forms.BooleanField(label=capfirst(_("remove the saved headers")), required=False)

    class Meta:
        model = DataSource
        fields = (
            *("name", "kind", "is_enabled", "corp", "timeout_seconds", "row_limit", "parallel_limit"),
            *("http_url", "allows_private_addresses", "ca_bundle"),
        )
        field_classes = {"name": TidyField, "http_url": TidyField, "ca_bundle": CertificatesField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in set(self.base_fields) - {*self.Meta.fields, *self.shown, VERSION}:
            self.fields.pop(name, None)
        if "corp" in self.fields:
            corp: Any = self.fields["corp"]
            corp.queryset = Corp.objects.visible_to(self.person).only("name")
            corp.required = bool(corp_condition(self.person))
        if "kind" in self.fields and self.instance.pk:
            self.fields["kind"].disabled = True  # the cards of the source have queries of this kind
        if "allows_private_addresses" in self.fields and not getattr(self.person, "is_superuser", False):
            self.fields["allows_private_addresses"].disabled = True
        if "new_sql_url" in self.fields:
            saved = parse_saved_address(self.instance)
            if saved is None:
                self.initial.setdefault("db_kind", BY_ADDRESS if self.instance.sql_url else "postgresql")
            else:
                kind = find_backend(self.instance.sql_url)
                self.initial.update(db_kind=kind, db_host=saved.host, db_port=saved.port)
                self.initial.update(db_name=saved.database, db_user=saved.username)
                help_text = _("Saved. Leave this empty to keep it.") if saved.password else ""
                self.fields["db_password"].help_text = help_text
            address = mask_address(self.instance.sql_url) or "***"
            self.describe_secret(
                "new_sql_url",
                saved=_("Saved: %(address)s. Leave this empty to keep it.") % {"address": address},
                empty=_("kind://user:password@host:port/database. Let the user be one that may only read."),
            )
        self.describe_secret(
            "new_http_headers",
            saved=_("Headers are saved. Leave this empty to keep them, or write all of them anew."),
            empty=_("One a line: Authorization: Bearer … They are stored encrypted and never shown."),
        )

    def clean_kind(self) -> str:
        """Let only people who see all companies add the BI, because its API user may read every card."""
        kind: str = self.cleaned_data["kind"]
        if kind == SourceKind.GUANDATA and not self.instance.pk and corp_condition(self.person):
            message = _(
                "Only people who manage all companies add the BI as a data source: its API user may read every card."
            )
            raise ValidationError(message, code="reach")
        return kind

    def clean_new_sql_url(self) -> str:
        typed: str = self.cleaned_data["new_sql_url"].strip()
        return _check_address(typed) if typed else ""

    def _build_database_url(self) -> None:
        """Build the database URL from the single fields if one was changed and no URL was typed. Adds the saved
        password if it may stay."""
        cleaned = self.cleaned_data
        uses_fields = cleaned.get("db_kind") and not set(DATABASE_FIELDS).isdisjoint(self.changed_data)
        if not uses_fields or "new_sql_url" in self.errors or cleaned.get("new_sql_url"):
            return
        for name in ("db_host", "db_name"):
            if not cleaned.get(name) and name not in self.errors:
                self.add_error(name, ValidationError(_("Fill this in."), code="required"))
        if not set(DATABASE_FIELDS).isdisjoint(self.errors):
            return
        address = sqlalchemy.URL.create(
            cleaned["db_kind"],
            username=cleaned["db_user"] or None,
            password=cleaned["db_password"] or None,
            host=cleaned["db_host"],
            port=cleaned["db_port"],
            database=cleaned["db_name"],
        )
        saved = parse_saved_address(self.instance)
        if saved is not None and saved.password and not address.password:
            if _identify_account(saved) != _identify_account(address):
                # Otherwise people who may change a source could send its password elsewhere.
                message = _("Enter the password again: with this change it would be sent elsewhere.")
                self.add_error("db_password", ValidationError(message, code="moved"))
                return
            address = address.set(password=saved.password, query=saved.query)
        try:
            cleaned["new_sql_url"] = _check_address(address.render_as_string(hide_password=False))
        except ValidationError as refusal:
            self.add_error("db_host", refusal)

    def clean_http_url(self) -> str:
        url: str = self.cleaned_data["http_url"]
        if url and not is_base_url(url):
            raise ValidationError(_("Write https://host/path, without a user, a question mark and a #."), code="url")
        return url

    def clean_new_http_headers(self) -> str:
        typed: str = self.cleaned_data["new_http_headers"]
        try:
            parse_headers(typed)
        except InvalidEntryError as refusal:
            message = gettext("Line %(line)s is no header that may be sent. Write Name: value.")
            raise ValidationError(message % {"line": refusal.line}, code="header") from None
        return typed

    def clean(self) -> None:
        super().clean()
        self._build_database_url()
        kind = self.cleaned_data.get("kind")
        has_database = bool(self.cleaned_data.get("new_sql_url") or self.instance.sql_url)
        if kind == SourceKind.SQL and not has_database and not self.errors.keys() & {"new_sql_url", *DATABASE_FIELDS}:
            self.add_error("db_host", _("Enter the database: its host, name and user, or its whole address."))
        if self.cleaned_data.get("new_sql_url"):
            self.instance.account_powers, self.instance.account_checked_at = "", None  # a test of the old URL set them
        if kind == SourceKind.JSON and not self.cleaned_data.get("http_url") and "http_url" not in self.errors:
            self.add_error("http_url", _("Enter the address of the service."))
        may_reach_other_server = bool({"http_url", "ca_bundle"} & set(self.changed_data))
        may_be_internal = self.cleaned_data.get("allows_private_addresses")
        if self.instance.pk and may_be_internal and not getattr(self.person, "is_superuser", False):
            # User, password and database name may change, but not the server.
            message = _("Only a superuser may change the address of a source that may lie in the internal network.")
            if may_reach_other_server:
                self.add_error("http_url" if "http_url" in self.fields else "ca_bundle", message)
            typed = self.cleaned_data.get("new_sql_url")
            if typed and read_server(typed) != read_server(self.instance.sql_url):
                self.add_error("new_sql_url", message)
        if self.instance.pk and may_reach_other_server:
            # People who may change a source must not learn its secrets by sending them elsewhere.
            self.require_secrets_again("new_http_headers")
            if self.instance.sql_url and not self.cleaned_data.get("new_sql_url"):
                message = _(
                    "Enter the database again, with its password: another authority would decide who receives it."
                )
                self.add_error("new_sql_url", message)
        self.store_secrets()


def _check_address(typed: str) -> str:
    """Return the database URL as typed. Raises ValidationError if it is not allowed."""
    try:
        parse_database_url(typed, settings.DATA_SQL_DRIVERS)
    except SourceError as refusal:
        what, detail = (str(refusal.facts[name]) for name in ("what", "detail"))
        raise ValidationError(describe_address_flaws(detail)[what], code=what) from None
    return typed


# NUL as escaped in JSON. After an odd number of further backslashes it is plain text.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class _JsonField(forms.JSONField):
    """JSON that PostgreSQL can store. Python also accepts numbers that overflow to infinity, which this refuses."""

    def to_python(self, value: Any) -> Any:
        parsed = super().to_python(value)
        try:
            text = json.dumps(parsed, ensure_ascii=False, allow_nan=False)
            text.encode()
        except UnicodeEncodeError:  # a lone surrogate
            raise ValidationError(_("A text holds invalid characters."), code="characters") from None
        except ValueError:
            raise ValidationError(_("This number is too large."), code="number") from None
        if _NUL.search(text):
            raise ValidationError(_("A text holds invalid characters."), code="characters")
        return parsed

    def prepare_value(self, value: Any) -> Any:
        return "" if value in (None, [], {}) else super().prepare_value(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Show input again as it was typed, valid or not."""
        return initial if self.disabled or data is None else InvalidJSONInput(data)


class _ListField(_JsonField):
    def to_python(self, value: Any) -> Any:
        parsed = super().to_python(value) or []
        if not isinstance(parsed, list):
            raise ValidationError(_("Write a list: […]."), code="form")
        return parsed


class _ObjectField(_JsonField):
    def to_python(self, value: Any) -> Any:
        parsed = super().to_python(value) or {}
        if not isinstance(parsed, dict) or len(parsed) > COLUMNS_AT_MOST:
            raise ValidationError(_('Write an object: {"name": …}.'), code="form")
        return parsed


class BiCardInput(forms.TextInput):
    """The id of a BI card, with a button that opens the list of cards. `choices_url`: URL of this list."""

    template_name = "admin/integrations/card/_bi_card_input.html"
    choices_url = ""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, {**(attrs or {}), "class": "vTextField"})
        return {**context, "choices_url": self.choices_url}


# Fields of the query by kind of source, and fields that describe columns of the answer.
QUERY_FIELDS = {
    SourceKind.GUANDATA: ("bi_card_id", "bi_page_id", "bi_view", "bi_filters", "bi_parameters"),
    SourceKind.SQL: ("sql", "sql_parameters"),
    SourceKind.JSON: ("http_method", "http_path", "http_body", "expression"),
}
COLUMN_FIELDS = ("kinds", "units", "as_of_column")
# Labels of the kinds of a column, equal to those in admin/integrations/card/_kind.html.
KIND_LABELS: dict[str, StrOrPromise] = {
    "text": pgettext_lazy("kind of a column", "text"),
    "number": pgettext_lazy("kind of a column", "number"),
    "percent": pgettext_lazy("kind of a column", "percent"),
    "boolean": pgettext_lazy("kind of a column", "yes or no"),
    "date": pgettext_lazy("kind of a column", "date"),
    "datetime": pgettext_lazy("kind of a column", "date and time"),
}
JSON_FIELDS = ("bi_filters", "bi_parameters", "sql_parameters", "http_body", "kinds", "units")


class CardForm(VersionedForm):
    """The form of a card. `person`: the signed-in person. `kind`: kind of the source, if known. `choices_url`: URL of
    the list of BI cards. The admin sets all of them."""

    person: Person
    kind = ""
    choices_url = ""

    class Meta:
        model = Card
        fields = ("name", "source", *chain.from_iterable(QUERY_FIELDS.values()), *COLUMN_FIELDS)
        field_classes = {
            **dict.fromkeys(("name", "as_of_column", "bi_card_id", "bi_page_id", "http_path"), TidyField),
            "http_body": _JsonField,
            **dict.fromkeys(("bi_filters", "bi_parameters"), _ListField),
            **dict.fromkeys(("sql_parameters", "kinds", "units"), _ObjectField),
        }
        widgets: ClassVar[dict[str, Any]] = {
            name: forms.Textarea(attrs={"rows": 8 if name == "sql" else 2, "cols": 60, "spellcheck": "false"})
            for name in ("sql", "expression", *JSON_FIELDS)
        }
        widgets["bi_card_id"] = BiCardInput
        help_texts = {
            "bi_card_id": _("The part after /card/ in its address in the BI."),
            "bi_page_id": _("The page on which it is, for people who look at this card later. Optional."),
            "bi_filters": _('A list: [{"name": "city", "filterType": "IN", "filterValue": ["Berlin"]}].'),
            "bi_parameters": _("A list, as the BI takes it: dynamicParams."),
            "sql": _("One SELECT. Write values as :name and give them below, never inside the text."),
            "sql_parameters": _('{"name": value}; a list for IN :name.'),
            "http_path": _("What follows the address of the service: orders?days=7."),
            "http_body": _("JSON, sent with POST."),
            "expression": _("Such as data.rows, or data.items[].{day: date, amount: sum}. Empty: the whole answer."),
            "kinds": _(
                '{"column": "number"}: text, number, percent (12.5 is 12.5%), ratio (0.125 is 12.5%), boolean, date or '
                "datetime, where it is not detected correctly."
            ),
            "units": _('{"column": "kg"}, shown behind a number.'),
            "as_of_column": _(
                "Its latest value is the time of the data, for reports that are not sent with stale data. A day counts "
                "as its end. Empty: the time that the web service gives, else the time of fetching."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "source" in self.fields:
            source: Any = self.fields["source"]
            source.queryset = DataSource.objects.visible_to(self.person).only("name", "kind")
            if self.kind:  # a query only fits sources of its kind
                source.queryset = source.queryset.filter(kind=self.kind)
        if "bi_card_id" in self.fields:
            self.fields["bi_card_id"].widget.choices_url = self.choices_url

    def clean_bi_filters(self) -> list[Any]:
        value: list[Any] = self.cleaned_data["bi_filters"]
        if not all(isinstance(each, dict) and {"name", "filterType"} <= set(each) <= _FILTER_KEYS for each in value):
            raise ValidationError(_("Each filter has name, filterType and filterValue, and nothing else."), code="form")
        return value

    def clean_sql_parameters(self) -> dict[str, Any]:
        value: dict[str, Any] = self.cleaned_data["sql_parameters"]
        plain = (str, int, float, bool, type(None))
        for each in value.values():
            items = each if isinstance(each, list) else [each]
            if not all(isinstance(item, plain) for item in items):
                raise ValidationError(
                    _("A value is a text, a number, true, false, null, or a list of such."), code="form"
                )
        return value

    def clean_kinds(self) -> dict[str, Any]:
        value: dict[str, Any] = self.cleaned_data["kinds"]
        if not set(map(str, value.values())) <= KIND_CHOICES:
            raise ValidationError(_("A kind is text, number, percent, ratio, boolean, date or datetime."), code="kind")
        return value

    def clean_units(self) -> dict[str, Any]:
        value: dict[str, Any] = self.cleaned_data["units"]
        if not all(isinstance(unit, str) and len(unit) <= 20 for unit in value.values()):
            raise ValidationError(_("A unit is a text of at most 20 characters."), code="unit")
        return value

    def clean_http_path(self) -> str:
        path: str = self.cleaned_data["http_path"]
        if not stays_below_base(path):
            raise ValidationError(_("Write what follows the address, without a host, .. and #."), code="path")
        return path

    def clean_expression(self) -> str:
        text: str = self.cleaned_data["expression"].strip()
        try:
            check_expression(text) if text else None
        except InvalidExpressionError as refusal:
            where = {"place": refusal.position + 1, "rest": text[max(0, refusal.position) :][:20]}
            message = gettext("This is no JMESPath: it is not understood from character %(place)s on (%(rest)s).")
            raise ValidationError(message % where, code="expression") from None
        return text

    def clean(self) -> None:
        super().clean()
        source = self.cleaned_data.get("source")
        if source is None:
            return
        if source.kind == SourceKind.GUANDATA and not self.cleaned_data.get("bi_card_id"):
            self.add_error("bi_card_id", _("Enter the card in the BI."))
        if source.kind != SourceKind.SQL or not {"sql", "sql_parameters"} <= self.cleaned_data.keys():
            return
        statement: str = self.cleaned_data["sql"]
        try:
            backend = find_backend(require_readable(source.sql_url))
        except UnreadableSecretError:  # the URL cannot be decrypted: apply the checks for all databases
            backend = ""
        try:
            sql.check_statement(statement, backend=backend)
        except SourceError as error:
            self.add_error("sql", explain_problem(error.problem, error.facts))
            return
        known = self.cleaned_data["sql_parameters"]
        missing = [name for name in sql.find_parameters(statement, backend=backend) if name not in known]
        if missing:
            message = gettext("Values are missing for: %(names)s.") % {"names": ", ".join(missing)}
            self.add_error("sql_parameters", message)
