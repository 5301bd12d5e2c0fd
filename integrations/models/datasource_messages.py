"""Why a card has no data, and what its owner should do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from integrations.clients.sources.errors import Power, Problem

_reader_sees_network: ContextVar[Callable[[], bool]] = ContextVar("reader_sees_network", default=lambda: False)


@contextmanager
def read_by(sees_network: Callable[[], bool]) -> Iterator[None]:
    """While the block runs, sentences are for a reader of whom `sees_network` says whether to tell more."""
    token = _reader_sees_network.set(sees_network)
    try:
        yield
    finally:
        _reader_sees_network.reset(token)


def sentence(code: str, facts: Mapping[str, Any], *, sees_network: bool | None = None) -> str:
    """In the language in force. A code of another version gets the sentence of what nobody expected.

    `sees_network`: tell a port where nothing listens from one where something is silent; None: as `read_by` says. That
    is for superusers: with sources at addresses of their choice, others would learn what runs in the network.
    """
    if sees_network is None:
        sees_network = _reader_sees_network.get()()
    if not sees_network and (code == Problem.UNREACHABLE or facts.get("silent")):
        return str(_SENTENCES["silence"])
    reason = f"{code}-{facts.get('reason', '')}"
    words = str(_SENTENCES.get(reason) or _SENTENCES.get(code, _SENTENCES[Problem.UNEXPECTED]))
    spoken = _words(facts)
    try:
        return words % {name: spoken.get(str(value), value) for name, value in facts.items()}
    except (KeyError, TypeError, ValueError):  # facts of another version
        return str(_SENTENCES[Problem.UNEXPECTED]) % {"error": code}


def _words(facts: Mapping[str, Any]) -> dict[str, str]:
    """What `what` and `missing` are in a sentence. Anything else in a sentence is a number, a code or a name."""
    column = {"column": facts.get("column", "")}
    return {
        "bi": _("the BI's address or API user"),
        "bi-address": _("the BI's address"),
        "app-token": _("the BI's app token"),
        "address": _("the address of the service"),
        "encoding": _("its letters or its packing are broken"),
        "empty": _("it is empty"),
        "not-json": _("it is no JSON"),
        "deep": _("it is nested too deeply"),
        "web-page": _("a web page, perhaps one to sign in"),
        "expression": _("it does not fit what is there"),
        "nothing": _("it finds nothing"),
        "memory": _("it needs too much memory"),
        **address_flaws(str(facts.get("detail", ""))),
        "answer": _("no answer of the BI"),
        "header": _("a header that fits no column"),
        "rows": _("malformed rows"),
        "uneven": _("its rows differ in length"),
        "columns": _("it has too many columns"),
        "no-columns": _("it has no columns"),
        "no-time-column": _("the column “%(column)s”, which is to say of when the data is, is not there") % column,
        "beyond": _("it holds a date or time that is none here, such as infinity or the year 10000"),
        "not-number": _("the column “%(column)s” holds something that is no number") % column,
        "not-boolean": _("the column “%(column)s” holds something that is neither yes nor no") % column,
        "not-date": _("the column “%(column)s” holds something that is no date") % column,
        "not-datetime": _("the column “%(column)s” holds something that is no time") % column,
    }


def powers(found: str) -> str:
    """What the account of a database may do beyond reading tables, in a few words. `found`: powers with commas."""
    words = {Power.SUPERUSER: _("superuser"), Power.FILES: _("reads files")}
    return _(", ").join(str(words[Power(one)]) for one in found.split(",") if one in words)


def too_much_power(found: str) -> str:
    """The warning for a source. `found`: codes of Power, separated by commas."""
    return _(
        "The account of this database may do more than read tables (%(powers)s): whoever writes a query may read files "
        "of the database's server. Give the source an account that may only read the tables it needs."
    ) % {"powers": powers(found)}


def address_flaws(detail: str) -> dict[str, str]:
    """Why an address of a database is refused, in whole sentences, by integrations.clients.sources.sql_url.Flaw."""
    known = {"detail": detail}
    return {
        "no-address": _("This is no address of a database. Write kind://user:password@host:port/database."),
        "no-driver": _("This kind of database is not admitted (%(detail)s): see docs/en/data-sources.md.") % known,
        "no-host": _("The host is missing, or is not a single one."),
        "no-database": _("The name of the database is missing behind the last slash."),
        "option": _("The option %(detail)s is not admitted: leave it out.") % known,
    }


_SENTENCES = {
    "silence": gettext_lazy(
        "The data source gave no answer. Check that it runs, its address, the firewall and its time limit, or ask "
        "for less. A superuser sees more."
    ),
    Problem.SOURCE_OFF: gettext_lazy("The data source is switched off. Switch it on, or choose another for this card."),
    Problem.NOT_SET_UP: gettext_lazy("The data source is not set up completely: %(missing)s is missing."),
    Problem.KEY_MISSING: gettext_lazy(
        "The credentials of the data source cannot be read: a key is missing in FIELD_ENCRYPTION_KEYS. Restore "
        "the key, or enter the credentials again."
    ),
    Problem.UNREACHABLE: gettext_lazy(
        "The data source could not be reached (%(reason)s). Check that it runs, its address, and the firewall."
    ),
    "unreachable-dns": gettext_lazy(
        "No host of this name is known. Check how it is spelt, and that the DNS of this server knows it."
    ),
    "unreachable-refused": gettext_lazy(
        "Nothing answers at this host and port. Check the port, and that the data source runs and takes connections "
        "from other machines."
    ),
    "unreachable-timeout": gettext_lazy(
        "The host does not answer. Check the address, and that the firewall lets this server through to the port."
    ),
    "unreachable-tls": gettext_lazy(
        "The port answers, but no encrypted connection (TLS) came about. Check the port, and whether the data source "
        "speaks TLS."
    ),
    Problem.TOO_SLOW: gettext_lazy(
        "The data source took longer than %(seconds)s seconds. Ask for less, or raise its time limit."
    ),
    Problem.TOO_BIG: gettext_lazy("The answer is larger than %(megabytes)s MB. Ask for fewer rows or columns."),
    Problem.NOT_ADMITTED: gettext_lazy(
        "The data source refuses the credentials. Enter them again, or let its administrator admit this account."
    ),
    Problem.NO_RIGHT: gettext_lazy(
        "The account may not read what is asked for. Let the database's administrator give it the right to connect to "
        "the database, and to read the tables."
    ),
    Problem.NO_DATABASE: gettext_lazy("The server has no database of this name. Check the name of the database."),
    Problem.NO_TLS: gettext_lazy(
        "No encrypted connection (TLS) came about. Switch TLS on at the data source, or connect without: take the CA "
        "bundle, or the option sslmode, out."
    ),
    Problem.NOT_FOUND: gettext_lazy(
        "The data source does not know what is asked for: it was deleted or renamed. Choose it anew in the card."
    ),
    Problem.REFUSED: gettext_lazy("The data source refuses the query (code %(code)s). Check the card's settings."),
    Problem.BROKEN: gettext_lazy(
        "The data source answers with an error of its own (HTTP %(status)s). Try again later."
    ),
    Problem.BUSY: gettext_lazy(
        "The data source is busy: something that the query needs is locked, or there are too many queries."
    ),
    Problem.NOT_UNDERSTOOD: gettext_lazy(
        "The answer of the data source is not of the form that was expected (%(what)s). Check the card's settings."
    ),
    Problem.NO_TABLE: gettext_lazy("The answer is no table: %(what)s."),
    Problem.CERTIFICATE: gettext_lazy(
        "The certificate of the data source is not trusted. Renew it there, or paste its authority as CA bundle."
    ),
    Problem.ADDRESS_REFUSED: gettext_lazy(
        "The address of the database is refused: %(what)s Enter another in the data source."
    ),
    Problem.ADDRESS_FORBIDDEN: gettext_lazy(
        "The address leads into an internal network, which this source may not enter. A superuser can allow it: by the "
        "tick “may be in the internal network”."
    ),
    Problem.ADDRESS_NEVER: gettext_lazy(
        "The address leads to where no data source may go, such as the metadata of a cloud. Enter another."
    ),
    Problem.LOOPBACK_FORBIDDEN: gettext_lazy(
        "The address leads to this machine itself. Where everything runs on one machine, set DATA_ALLOW_LOOPBACK, "
        "and let a superuser tick “may be in the internal network”."
    ),
    Problem.DRIVER_UNCHECKED: gettext_lazy(
        "Nobody can check where the driver of this kind of database connects to. A superuser can allow the source "
        "the internal network, and so all addresses."
    ),
    Problem.REDIRECTED: gettext_lazy(
        "The service sends the question on to another address, which is not followed. Enter the final address."
    ),
    Problem.QUERY_REFUSED: gettext_lazy(
        "The database refuses the query (%(code)s). Try it there, then correct the card."
    ),
    Problem.NOT_A_QUERY: gettext_lazy(
        "Only one query that reads can be asked: one SELECT, without a semicolon inside."
    ),
    Problem.PARAMETER_MISSING: gettext_lazy("The parameter “%(name)s” of the query has no value. Set it in the card."),
    Problem.DRIVER_MISSING: gettext_lazy(
        "No driver for this kind of database is installed or admitted (%(driver)s). See docs/en/data-sources.md."
    ),
    Problem.EXPRESSION: gettext_lazy("The JMESPath expression fails on this answer: %(what)s. Correct it in the card."),
    Problem.UNEXPECTED: gettext_lazy("The data could not be read because of an error in this program (%(error)s)."),
}
