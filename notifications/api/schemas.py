"""Requests and responses of the API. The docstrings appear in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from ninja import Schema
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from notifications.delivery.runs import statistics
from notifications.inbound.accept import CAPTION_CHARACTERS, FIGURE_CHARACTERS, Preview
from notifications.inbound.content import FILES_AT_MOST
from notifications.inbound.recipients import ADDRESSES_AT_MOST, Address, AddressKind
from notifications.models import Delivery, IncomingMessage, Medium, Receipt, Run, Subscription
from notifications.models.inbound import FIGURES_AT_MOST, LINK_CHARACTERS, TEXT_CHARACTERS, TITLE_CHARACTERS
from notifications.models.subscriptions import MAX_LIFETIME_HOURS

# The largest primary key of the database.
LARGEST_ID = 2**63 - 1
Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]


class ProblemDetails(Schema):
    """Problem details (RFC 9457). Programs should check `code`."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class RunRequest(Schema):
    """A request to run. `trigger`: the cause shown in the log, without other effect."""

    model_config = ConfigDict(extra="forbid")

    trigger: Literal["url", "data_update"] = "url"


class RunCounts(Schema):
    """Numbers of people. `recipients` could be reached: each is accepted or refused by WeCom or the mail server,
    `waiting` to be sent, or `unknown`. `skipped` could not be reached."""

    recipients: int
    skipped: int
    accepted: int
    refused: int
    unknown: int
    waiting: int

    @classmethod
    def from_runs(cls, runs: Sequence[Run], counts: statistics.OutcomeCounts) -> RunCounts:
        """Return the counts of these runs together."""
        return cls(
            recipients=sum(run.recipient_count for run in runs),
            skipped=sum(run.skipped_count for run in runs),
            **{name: getattr(counts, name) for name in ("accepted", "refused", "unknown", "waiting")},
        )


class RunState(Schema):
    """A run of a subscription. `state`: waiting, sending, finished, missed, failed, or skipped (its data was not worth
    sending)."""

    id: int
    subscription_id: int | None
    trigger: str
    state: str
    due_at: datetime
    claimed_at: datetime
    rendered_at: datetime | None
    finished_at: datetime | None
    error: str
    counts: RunCounts

    @classmethod
    def from_run(cls, run: Run) -> RunState:
        """Return the state of a run. Makes one query, for the counts."""
        return cls(
            id=run.pk,
            subscription_id=run.subscription_id,
            trigger=str(run.trigger),
            state=str(run.status),
            due_at=run.slot_at,  # a spread may let the run begin later
            **{name: getattr(run, name) for name in ("claimed_at", "rendered_at", "finished_at")},
            error=run.error_text,
            counts=RunCounts.from_runs([run], statistics.count_outcomes("run", run.pk)),
        )


class SubscriptionItem(Schema):
    """A subscription. `is_enabled`: disabled ones only run by hand. `is_paused`: messages wait."""

    id: int
    name: str
    report: str
    channel: str
    is_enabled: bool
    is_paused: bool
    time_zone: str
    next_run_at: datetime | None

    @classmethod
    def from_subscription(cls, subscription: Subscription) -> SubscriptionItem:
        names = ("name", "channel", "is_enabled", "is_paused", "time_zone", "next_run_at")
        columns: dict[str, Any] = {name: getattr(subscription, name) for name in names}
        return cls(id=subscription.pk, report=subscription.report.title, **columns)


class CheckState(Schema):
    """A check that has started. Its findings appear as incidents."""

    rule_id: int
    slot_at: datetime


class SubscriptionPage(Schema):
    """A page of subscriptions. `next_after`: where the next page begins; null on the last one."""

    items: list[SubscriptionItem]
    next_after: int | None


VALUE_CHARACTERS = 255
WebAddress = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]", max_length=LINK_CHARACTERS)]
Form = Literal["auto", "text", "markdown", "textcard", "news", "image", "text_notice", "news_notice", "file"]


class RecipientIn(Schema):
    """A recipient. `corp`: CorpId or name of the company of a userid or department; empty searches all. `attribute`:
    key of the attribute whose value is given. A department is given by its number in WeCom or its name."""

    model_config = ConfigDict(extra="forbid")

    by: Literal["user", "userid", "login_id", "email", "attribute", "department", "group"]
    value: Annotated[str, Field(min_length=1, max_length=VALUE_CHARACTERS)]
    corp: Annotated[str, Field(max_length=VALUE_CHARACTERS)] = ""
    attribute: Annotated[str, Field(max_length=VALUE_CHARACTERS)] = ""

    @model_validator(mode="after")
    def _check_attribute(self) -> Self:
        if (self.by == "attribute") != bool(self.attribute):
            raise ValueError("attribute: required for a recipient by attribute, and allowed for no other")
        return self

    @property
    def address(self) -> Address:
        return Address(AddressKind(self.by), self.value, corp=self.corp, attribute=self.attribute)


class FigureIn(Schema):
    """A key figure as text, with a caption. Cards show the first one large."""

    model_config = ConfigDict(extra="forbid")

    caption: Annotated[str, Field(min_length=1, max_length=CAPTION_CHARACTERS)]
    words: Annotated[str, Field(min_length=1, max_length=FIGURE_CHARACTERS)]


class MessageIn(Schema):
    """A message. `form`: auto chooses by content. `corp`: only send to people of this company (CorpId or name).
    `uploads`: ids of uploaded files. `callback_url`: called once the outcome for every person is final. `dry_run`: send
    nothing, and tell who would be reached."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(min_length=1, max_length=TITLE_CHARACTERS)]
    text: Annotated[str, Field(max_length=TEXT_CHARACTERS)] = ""
    markup: Literal["plain", "markdown"] = "plain"
    link: WebAddress | None = None
    figures: Annotated[list[FigureIn], Field(max_length=FIGURES_AT_MOST)] = []
    recipients: Annotated[list[RecipientIn], Field(min_length=1, max_length=ADDRESSES_AT_MOST)]
    corp: Annotated[str, Field(min_length=1, max_length=VALUE_CHARACTERS)] | None = None
    form: Form = "auto"
    priority: Literal["ordinary", "urgent"] = "ordinary"
    lifetime_hours: Annotated[int, Field(ge=1, le=MAX_LIFETIME_HOURS)] = 24
    uploads: Annotated[list[Id], Field(max_length=FILES_AT_MOST)] = []
    callback_url: WebAddress | None = None
    dry_run: bool = False


class UnknownRecipient(Schema):
    """A recipient that matches nobody. `reason`: unknown (also if out of the token's reach), or ambiguous."""

    by: str
    value: str
    corp: str
    attribute: str
    reason: str

    @classmethod
    def from_document(cls, document: dict[str, str]) -> UnknownRecipient:
        members = {name: document.get(name, "") for name in ("value", "corp", "attribute", "reason")}
        return cls(by=document["kind"], **members)


class Reachable(Schema):
    """A person. `reason`: why the message would not reach them; empty if it would."""

    user: str
    reason: str


class MessagePreview(Schema):
    """The effect of a message. `messages`: how many each person would get: one, and one for each further file.
    `people`: the first 1000."""

    form: str
    messages: int
    reached: int
    not_reached: int
    people: list[Reachable]
    unknown: list[UnknownRecipient]

    @classmethod
    def from_preview(cls, found: Preview, usernames: dict[int, str]) -> MessagePreview:
        people = [
            Reachable(user=usernames[one.user_id], reason=one.reason.value if one.reason else "")
            for one in found.recipients
            if one.user_id in usernames
        ]
        reached = sum(one.reason is None for one in found.recipients)
        unknown = [
            UnknownRecipient.from_document({**address.to_document(), "reason": why}) for address, why in found.unknown
        ]
        return cls(
            form=found.source.terms.form.value,
            messages=found.message_count,
            reached=reached,
            not_reached=len(found.recipients) - reached,
            people=people,
            unknown=unknown,
        )


class CallbackState(Schema):
    """The call of `callback_url`. `state`: none, waiting, delivered or given_up. `error`: of the last attempt."""

    state: str
    attempts: int
    error: str


class ReceiptItem(Schema):
    """The outcome of one message for one person. `part`: 0 for the message itself, then its further files. `state`:
    waiting, accepted, invalid, unlicensed, failed, unknown, canceled or skipped. `reason` explains skipped."""

    id: int
    user: str | None
    part: int
    state: str
    reason: str
    channel: str
    read_at: datetime | None

    @classmethod
    def from_receipt(cls, receipt: Receipt) -> ReceiptItem:
        delivery = receipt.delivery
        state = receipt.status or (delivery.status if delivery else "")
        return cls(
            id=receipt.pk,
            user=receipt.user.username if receipt.user else None,
            # Run keys are message:<id> for the message itself and message:<id>:<number> for a further file.
            part=int((*receipt.run.original_run.key.split(":"), "0", "0")[2]),
            state="waiting" if state in Delivery.UNSETTLED else state,
            reason=receipt.reason,
            channel=receipt.channel,
            read_at=receipt.read_at,
        )


class MessageState(Schema):
    """A message and its outcome. `state`: waiting, sending or finished. `counts`: people, summed over its messages.
    `receipts`: a page; `next_after`: where the next page begins, null on the last one."""

    id: int
    title: str
    form: str
    state: str
    created_at: datetime
    counts: RunCounts
    unknown: list[UnknownRecipient]
    callback: CallbackState
    run_ids: list[int]
    receipts: list[ReceiptItem]
    next_after: int | None

    @classmethod
    def from_message(
        cls, message: IncomingMessage, receipts: Sequence[Receipt], next_after: int | None
    ) -> MessageState:
        """Return the state of a message. Makes two queries, for the runs and the counts."""
        runs = list(message.runs.order_by("pk"))
        states = {str(run.status) for run in runs}
        return cls(
            id=message.pk,
            title=message.title,
            form=str(message.form),
            state=next((state for state in ("waiting", "sending") if state in states), "finished"),
            created_at=message.created_at,
            counts=RunCounts.from_runs(runs, statistics.count_outcomes("run__message", message.pk)),
            unknown=[UnknownRecipient.from_document(one) for one in message.unknown],
            callback=CallbackState(
                state=str(message.callback_state) or "none",
                attempts=message.callback_count,
                error=message.callback_error_text,
            ),
            run_ids=[run.pk for run in runs],
            receipts=[ReceiptItem.from_receipt(receipt) for receipt in receipts],
            next_after=next_after,
        )


class UploadState(Schema):
    """A file for messages of the same token until `expires_at`. `kind`: picture, if WeCom can show it, or file.
    `content_type`: detected from the content, not from the name."""

    id: int
    name: str
    kind: str
    content_type: str
    size: int
    expires_at: datetime

    @classmethod
    def from_upload(cls, upload: Medium, expires_at: datetime) -> UploadState:
        size, kind = len(upload.content), str(upload.kind)
        return cls(
            id=upload.pk,
            name=upload.name,
            kind=kind,
            content_type=upload.content_type,
            size=size,
            expires_at=expires_at,
        )
