"""Reports, subscriptions and choices of their recipients; drafts; the calendar of working days."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, ClassVar, Self, cast

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.models import Attribute, User
from accounts.models.attributes import VALUE_CHARACTERS
from integrations.models import Card
from integrations.models.fields import Person
from integrations.models.jobs import Moment
from notifications.charts.definition import TOP, TOP_AT_MOST, Aggregate, Chart, ChartKind, Sort, from_document
from notifications.models.media import WithPagePicture
from notifications.models.recipients import ForCompany, M, ScopedQuerySet, WithRecipients, WithSuccessor

if TYPE_CHECKING:
    from notifications.models.alerts import AlertRule

# Less than an hour, so that a push due at nine begins before ten.
MAX_JITTER_SECONDS = 60 * 60 - 1


class Repeat(models.TextChoices):
    """The way a schedule is written: a preset or a crontab."""

    ONCE = "once", _("once")
    DAILY = "daily", _("every day")
    WEEKLY = "weekly", _("on days of the week")
    MONTHLY = "monthly", _("once a month")
    CRONTAB = "crontab", _("at other times (cron expression)")


class MonthDay(models.TextChoices):
    """Days of a month that are not simply a number."""

    LAST = "last", _("the last day")
    FIRST_WORKDAY = "first_workday", _("the first working day")
    LAST_WORKDAY = "last_workday", _("the last working day")


WORKDAYS_OF_MONTH = (MonthDay.FIRST_WORKDAY, MonthDay.LAST_WORKDAY)


class FreeDays(models.TextChoices):
    """The handling of times on days off in China."""

    SEND = "send", _("send anyway")
    SKIP = "skip", _("skip: send only on working days")
    NEXT = "next", _("send on the next working day")


class ScheduledQuerySet(models.QuerySet[M]):
    def due(self, now: Moment) -> Self:
        return self.filter(is_enabled=True, next_run_at__lte=now)

    def depending_on_workdays(self) -> Self:
        """Rows whose times depend on the calendar of working days."""
        return self.exclude(~Q(month_day__in=WORKDAYS_OF_MONTH), free_days=FreeDays.SEND)


class Scheduled(models.Model):
    """Base of models with a schedule (notifications.subscriptions.schedules). Subclasses also have `is_enabled`."""

    repeat = models.CharField(_("how often"), max_length=16, choices=Repeat.choices, default=Repeat.CRONTAB)
    # The day of an announcement, which is sent once.
    on_date = models.DateField(_("on the day"), null=True, blank=True)
    local_time = models.TimeField(_("at"), null=True, blank=True)
    # ISO 8601 numbers (1 is Monday), ascending, separated by commas.
    weekdays = models.CharField(_("days of the week"), max_length=13, blank=True)
    # A number from 1 to 31, or a MonthDay.
    month_day = models.CharField(_("day of the month"), max_length=16, blank=True)
    free_days = models.CharField(
        _("on holidays and days off"),
        max_length=8,
        choices=FreeDays.choices,
        default=FreeDays.SEND,
        help_text=_("According to China's calendar: weekends that make up for a holiday are working days."),
    )
    crontab = models.CharField(
        _("cron expression"),
        max_length=128,
        blank=True,
        help_text=_("Minute, hour, day of month, month, day of week; * means each. For example 0 9 * * 1-5."),
    )
    jitter_seconds = models.PositiveIntegerField(
        _("random delay (seconds)"),
        default=0,
        validators=[MaxValueValidator(MAX_JITTER_SECONDS)],
        help_text=_(
            "Each run begins up to this much later, so that not everything is sent at once. WeCom asks not to send "
            "exactly on the hour or the half hour."
        ),
    )
    time_zone = models.CharField(_("time zone"), max_length=64, default="Asia/Shanghai")
    valid_from = models.DateTimeField(_("valid from"), null=True, blank=True)
    valid_to = models.DateTimeField(_("valid to"), null=True, blank=True)
    # When it is due, with the random delay; empty: no further slot. Computed only by
    # notifications.subscriptions.schedules, and again when a slot is claimed.
    next_run_at = models.DateTimeField(_("next run"), null=True, blank=True, editable=False)

    class Meta:
        abstract = True

    @property
    def depends_on_workdays(self) -> bool:
        """Return whether its times depend on the calendar of working days."""
        return self.free_days != FreeDays.SEND or self.month_day in WORKDAYS_OF_MONTH

    @property
    def weekday_numbers(self) -> set[int]:
        return {int(number) for number in self.weekdays.split(",") if number}


class StandingOrder(Scheduled, WithSuccessor):
    """Base of pushes and alert rules: a name, an owner, and a schedule that counts while it is enabled."""

    name = models.CharField(_("name"), max_length=128)
    owner = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("owner")
    )
    is_enabled = models.BooleanField(pgettext_lazy("switch", "enabled"), default=True)
    # Key of the form that made it: a form submitted twice makes one row.
    form_key = models.CharField(max_length=32, unique=True, null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        abstract = True


MAX_GRACE_MINUTES = 24 * 60
MAX_LIFETIME_HOURS = 7 * 24
MAX_FAILURES = 100
# A year.
MAX_STALE_MINUTES = 366 * 24 * 60


class MessageForm(models.TextChoices):
    TEXT = "text", _("text")
    MARKDOWN = "markdown", _("Markdown")
    TEXTCARD = "textcard", _("text card")
    NEWS = "news", _("picture with text (news)")
    IMAGE = "image", _("picture alone")
    TEXT_NOTICE = "text_notice", _("card with a large number")
    NEWS_NOTICE = "news_notice", _("card with a picture")
    XLSX = "xlsx", _("Excel file")
    CSV = "csv", _("CSV file")
    # A file of another system, or the PDF of a page of the BI.
    FILE = "file", _("file")


# Reports carry no files of other systems; incoming messages have no cards to make a table of.
REPORT_FORMS = [choice for choice in MessageForm.choices if choice[0] != MessageForm.FILE]
REPORT_FORMS.append((MessageForm.FILE.value, _("PDF file of a page of the BI")))
INCOMING_FORMS = [choice for choice in MessageForm.choices if choice[0] not in {MessageForm.XLSX, MessageForm.CSV}]


class Priority(models.IntegerChoices):
    """The priority of a message; lower goes first. Urgent messages have their own queue and share of the limits."""

    URGENT = 0, _("urgent")
    ORDINARY = 1, _("ordinary")


# Parts of a title that show a value, and parts that show nothing.
_TEMPLATE_VALUE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_TEMPLATE_STEP = re.compile(r"\{%.*?%\}|\{#.*?#\}", re.DOTALL)


class Report(ForCompany, WithPagePicture):
    """The content of a push: a title, a body, the page that it links to, and a picture of a page of the BI."""

    # True for an unsaved report of a preview: rendering shows its errors, so the form does not check them.
    is_draft = False
    # The length of the template; delivery.rendering.message_builder cuts the rendered title.
    title = models.CharField(_("title"), max_length=1000)
    body = models.TextField(_("body"))
    # Off for reports older than templates: their braces are plain text.
    is_template = models.BooleanField(
        _("title and body are templates"),
        default=False,
        help_text=_(
            "Text in {{ }} is replaced when the message is sent, for example by figures from the data or by dates."
        ),
    )
    figures = models.TextField(
        _("key figures"),
        blank=True,
        help_text=_(
            "Also a template. Each line is a name, a colon and a number. Message cards show the first number large "
            "and up to six others below it."
        ),
    )
    skips_people_without_rows = models.BooleanField(
        _("leave out people who see no rows"),
        default=True,
        help_text=_("With own rows: people who would see no rows get no message, and the log says why."),
    )
    link = models.CharField(
        _("link"),
        max_length=1024,
        blank=True,
        help_text=_("The page that the message leads to: an address with http or https, or a path on this site."),
    )

    objects = ScopedQuerySet["Report"].as_manager()

    class Meta:
        verbose_name = _("report")
        verbose_name_plural = _("reports")

    def __str__(self) -> str:
        return self.plain_title

    @property
    def has_picture(self) -> bool:
        return bool(self.picture_bi_id)

    @property
    def plain_title(self) -> str:
        """The title for lists and pages, with “…” for each value that is computed when it is sent."""
        if not self.is_template:
            return self.title
        plain = " ".join(_TEMPLATE_VALUE.sub("…", _TEMPLATE_STEP.sub("", self.title)).split())
        return plain if plain.strip("… ") else f"{self._meta.verbose_name} {self.pk or ''}".strip()


# --- Parts of a report ------------------------------------------------------------------------------------------------

ALIAS_CHARACTERS = 32
COLUMN_CHARACTERS = 128


class ReportCard(models.Model):
    """A card of a report."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="report_cards", verbose_name=_("report"))
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="report_cards", verbose_name=_("data"))
    # A valid Jinja2 name, by which templates refer to the card.
    alias = models.CharField(
        _("name in templates"),
        max_length=ALIAS_CHARACTERS,
        validators=[
            RegexValidator(r"^[^\W\d_]\w*\Z", _("A word of letters, digits and “_” that begins with a letter."))
        ],
        help_text=_('For example sales: then {{ sales.sum("amount") }} is the sum of a column.'),
    )
    title = models.CharField(
        _("heading"), max_length=128, blank=True, help_text=_("Shown above its table. Empty: the name of the data.")
    )
    position = models.PositiveSmallIntegerField(_("place"), default=0)

    class Meta:
        verbose_name = _("data")
        verbose_name_plural = _("data")
        ordering = ["position", "pk"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["report", "alias"], name="one_card_per_alias_of_report")]

    def __str__(self) -> str:
        return f"{self.report}: {self.card}"

    @property
    def heading(self) -> str:
        return self.title or self.card.name


class OwnRowsRule(models.Model):
    """A rule that each person sees only those rows of a card whose column has one of their values, or a fixed one.

    All rules of a card must hold (notifications.reports.row_filters). PROTECT: deleting a rule with its attribute would
    show everybody everything.
    """

    # Placeholders for the person's own values in WeCom.
    OF_PERSON: ClassVar = {"@userid": _("WeCom account"), "@department": _("department in WeCom")}

    report = models.ForeignKey(
        Report, on_delete=models.CASCADE, related_name="own_rows_rules", verbose_name=_("report")
    )
    alias = models.CharField(_("data"), max_length=ALIAS_CHARACTERS, help_text=_("Its name in templates."))
    column = models.CharField(_("column"), max_length=COLUMN_CHARACTERS)
    attribute = models.ForeignKey(
        Attribute,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="own_rows_rules",
        verbose_name=_("attribute"),
        help_text=_("Each person sees the rows in which this column holds one of the person's values."),
    )
    value = models.CharField(
        _("or a fixed value"), max_length=VALUE_CHARACTERS, blank=True, help_text=_("Everybody sees these rows.")
    )

    class Meta:
        verbose_name = _("rule of own rows")
        verbose_name_plural = _("own rows: who sees which rows")
        ordering = ["pk"]
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(attribute__isnull=False, value="") | (Q(attribute__isnull=True) & ~Q(value="")),
                name="own_rows_by_attribute_or_value",
            )
        ]

    def __str__(self) -> str:
        value = self.OF_PERSON.get(self.value, self.value)
        return f"{self.report}: {self.column} = {self.attribute or value}"


# --- How a report's cards are drawn ---


class ReportChart(models.Model):
    """A chart of a card. The report's first chart is the picture of a message whose form has a picture."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="charts", verbose_name=_("report"))
    alias = models.CharField(_("data"), max_length=ALIAS_CHARACTERS, help_text=_("Its name in templates."))
    kind = models.CharField(_("kind"), max_length=16, choices=ChartKind.choices, default=ChartKind.LINE)
    title = models.CharField(_("heading"), max_length=128, blank=True)
    x = models.CharField(
        _("column for the axis"),
        max_length=COLUMN_CHARACTERS,
        blank=True,
        help_text=_("Dates run from left to right. Names become horizontal bars, or the parts of a pie."),
    )
    # One per line: names may hold any other separator.
    y = models.TextField(
        _("columns of values"), blank=True, help_text=_("One per line. Several become lines, or columns of a table.")
    )
    series = models.CharField(
        _("grouping column"),
        max_length=COLUMN_CHARACTERS,
        blank=True,
        help_text=_("Each of its values gets its own line or colour. Beyond six, the others are combined."),
    )
    unit = models.CharField(_("unit"), max_length=16, blank=True, help_text=_("Empty: the column's own unit."))
    top = models.PositiveSmallIntegerField(
        _("at most"),
        default=TOP,
        validators=[MinValueValidator(1), MaxValueValidator(TOP_AT_MOST)],
        help_text=_("The largest number of bars, parts or rows. The rest is combined as “others”."),
    )
    sort = models.CharField(
        pgettext_lazy("of bars and rows", "order"), max_length=16, choices=Sort.choices, default=Sort.AS_IS
    )
    aggregate = models.CharField(
        _("rows with the same value on the axis"), max_length=16, choices=Aggregate.choices, default=Aggregate.SUM
    )
    position = models.PositiveSmallIntegerField(_("place"), default=0)

    class Meta:
        verbose_name = _("chart of a report")
        verbose_name_plural = _("charts of the report")
        ordering = ["position", "pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.alias}: {self.get_kind_display()}"

    @property
    def chart(self) -> Chart:
        """The definition for drawing."""
        names = ("kind", "title", "x", "series", "unit", "top", "sort", "aggregate")
        columns = [name for line in self.y.splitlines() if (name := line.strip())]
        return from_document({**{name: getattr(self, name) for name in names}, "y": columns})


# --- Subscriptions ----------------------------------------------------------------------------------------------------


class IfStale(models.TextChoices):
    """The handling of a run whose data is older than allowed."""

    NOTE = "note", _("send with a note that the data is stale")
    SKIP = "skip", _("do not send")


class SubscriptionQuerySet(ScheduledQuerySet["Subscription"]):
    def visible_to(self, person: Person) -> Self:
        return self.filter(report__in=Report.objects.visible_to(person))


class Subscription(WithRecipients, StandingOrder):
    """A push, as pages call it: which report is sent, to whom, in which form and when."""

    report = models.ForeignKey(Report, on_delete=models.PROTECT, related_name="subscriptions", verbose_name=_("report"))
    message_form = models.CharField(
        _("message form"), max_length=16, choices=REPORT_FORMS, default=MessageForm.TEXTCARD
    )
    priority = models.PositiveSmallIntegerField(
        _("priority"),
        choices=Priority.choices,
        default=Priority.ORDINARY,
        help_text=_("Urgent messages overtake all others."),
    )
    grace_minutes = models.PositiveIntegerField(
        _("grace period (minutes)"),
        default=60,
        validators=[MaxValueValidator(MAX_GRACE_MINUTES)],
        help_text=_(
            "If a time is missed by no more than this, one run makes up for it; an older one is recorded as missed, "
            "and the owner is notified. A due run waits at most this long for the run before it."
        ),
    )
    lifetime_hours = models.PositiveIntegerField(
        _("expires after (hours)"),
        default=24,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_LIFETIME_HOURS)],
        help_text=_("A message that could not be sent within this time is canceled."),
    )
    # When a run of the schedule or of another system is not worth sending; runs by hand are always sent.
    skips_empty = models.BooleanField(_("do not send if the data is empty"), default=False)
    skips_unchanged = models.BooleanField(_("do not send if the data is as in the last message"), default=False)
    stale_after_minutes = models.PositiveIntegerField(
        _("data counts as stale after (minutes)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_STALE_MINUTES)],
        help_text=_("The age of the data when the push is due, as the source states it. Empty: data is never stale."),
    )
    if_stale = models.CharField(_("with stale data"), max_length=8, choices=IfStale.choices, default=IfStale.NOTE)
    is_paused = models.BooleanField(
        _("paused"),
        default=False,
        help_text=_(
            "Messages are still made, but they wait and go out when the push is resumed, unless they have expired. "
            "Scheduled times that come while a run waits are missed."
        ),
    )
    pauses_after_failures = models.PositiveSmallIntegerField(
        _("pause after failed runs in a row"),
        default=5,
        db_default=5,
        validators=[MaxValueValidator(MAX_FAILURES)],
        help_text=_(
            "After this many runs in a row that reached nobody, the push is paused until somebody enables it again, "
            "and its owner is notified. Runs that wait for a company do not count. 0: never."
        ),
    )
    # When failed runs paused it, which sets is_enabled to false; and since when failures count. See
    # delivery.runs.owner_notices.
    failures_paused_at = models.DateTimeField(null=True, editable=False)
    failures_counted_from = models.DateTimeField(null=True, editable=False)

    rule_column = "subscription"
    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        verbose_name = _("push")
        verbose_name_plural = _("pushes")
        indexes = [
            # For the tick: SubscriptionQuerySet.due().
            models.Index(fields=["next_run_at"], condition=Q(is_enabled=True), name="subscription_due"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def only_corp_id(self) -> int | None:
        return self.report.corp_id


class SubscriptionChoice(models.Model):
    """The choice of a person to pause or decline a subscription. Without a row the person receives it."""

    class Kind(models.TextChoices):
        PAUSED = "paused", _("paused")
        DECLINED = "declined", _("not for me")

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="choices")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    chosen_at = models.DateTimeField()

    class Meta:
        verbose_name = _("choice of a recipient")
        verbose_name_plural = _("choices of recipients")
        # Each person makes their own choices; administrators see them as reasons of receipts.
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["subscription", "user"], name="one_choice_per_recipient")]

    def __str__(self) -> str:
        return f"{self.subscription_id} {self.user_id} {self.kind}"


# --- Rules that choose people by an attribute ---


RULES_AT_MOST = 20
VALUES_AT_MOST = 500


class Operator(models.TextChoices):
    """The comparison of a person's values of the attribute with those of the rule, regardless of case."""

    IS = "is", pgettext_lazy("attribute rule", "is")
    CONTAINS = "contains", pgettext_lazy("attribute rule", "contains")
    ONE_OF = "one_of", pgettext_lazy("attribute rule", "is one of")


class AttributeRule(models.Model):
    """A condition on an attribute, for a subscription or an alert rule; several are joined by `rules_match`.

    PROTECT: deleting a rule with its attribute would leave rules that reach more people.
    """

    subscription = models.ForeignKey(
        Subscription,
        on_delete=models.CASCADE,
        null=True,
        related_name="attribute_rules",
        verbose_name=_("push"),
    )
    alert_rule = models.ForeignKey(
        "notifications.AlertRule",
        on_delete=models.CASCADE,
        null=True,
        related_name="attribute_rules",
        verbose_name=_("alert rule"),
    )
    attribute = models.ForeignKey(
        Attribute, on_delete=models.PROTECT, related_name="subscription_rules", verbose_name=_("attribute")
    )
    operator = models.CharField(_("comparison"), max_length=8, choices=Operator.choices)
    # As entered; exactly one unless the operator is ONE_OF.
    values = models.JSONField(_("values"), default=list)

    class Meta:
        verbose_name = _("attribute rule")
        verbose_name_plural = _("attribute rules")
        ordering = ["pk"]
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(subscription__isnull=False, alert_rule__isnull=True)
                | Q(subscription__isnull=True, alert_rule__isnull=False),
                name="attribute_rule_of_one",
            )
        ]

    def __str__(self) -> str:
        return f"{self.order}: {self.attribute} {self.get_operator_display()} {', '.join(self.values)}"

    @property
    def order(self) -> Subscription | AlertRule:
        """The subscription or alert rule whose recipients the rule chooses."""
        return self.alert_rule or cast("Subscription", self.subscription)  # the constraint ensures one of them


# --- Working days and days off in China as administrators entered them: they override the published ones ---


_DAY = r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?"
_LINE = re.compile(rf"{_DAY}(?:\s*(?:to|至|到|[-~～–—])\s*{_DAY})?[\s,，;；]+(?:(off|休)|work|班)(?:[\s,，;；].*)?")


def read_days(text: str) -> Mapping[date, bool]:
    """Map days to whether they are working days in China. Raises ValidationError for a line that cannot be read."""
    days: dict[date, bool] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        found = _LINE.fullmatch(line.strip())
        try:
            numbers = [int(each) for each in found.groups()[:6] if each] if found else []
            first, last = date(*numbers[:3]), date(*numbers[-3:])
            day_count = (last - first).days + 1
        except (TypeError, ValueError):
            day_count = 0
        if found and 0 < day_count <= 31:  # in a longer period, a year is mistyped
            days |= {first + timedelta(days=ahead): not found[7] for ahead in range(day_count)}
        elif line.strip():
            sentence = gettext("Line %(number)d cannot be read: “%(line)s”.")
            raise ValidationError(sentence % {"number": number, "line": line.strip()[:64]})
    return days


class WorkdayCalendarQuerySet(models.QuerySet["WorkdayCalendar"]):
    def read_entered_days(self) -> Mapping[date, bool]:
        return read_days(self.values_list("days", flat=True).first() or "")


class WorkdayCalendar(models.Model):
    """The entered calendar of China: one row for all companies."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    days = models.TextField(
        _("holidays and make-up days"),
        blank=True,
        validators=[read_days],  # type: ignore[list-item]  # Django ignores what a validator returns
        help_text=_(
            "They override the calendar of this version. Write one line for each day or period: the date, off or "
            "work, and a name, for example “2027-02-05 to 2027-02-11 off Spring Festival” or “2027-02-14 work”. You "
            "can paste several lines at once."
        ),
    )

    objects = WorkdayCalendarQuerySet.as_manager()

    class Meta:
        verbose_name = pgettext_lazy("menu", "Holidays")
        verbose_name_plural = pgettext_lazy("menu", "Holidays")
        default_permissions = ("view", "change")
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_workday_calendar")]

    def __str__(self) -> str:
        return str(self._meta.verbose_name)


# --- Drafts: what a person typed on a page and has not saved ---


DRAFT_KEPT = timedelta(days=30)


class Draft(models.Model):
    """The draft of a person on a page. It holds no secret: pages that keep drafts have no field for one."""

    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    # "push:7", or "push:new" for a new push.
    page = models.CharField(max_length=32)
    # The form as application/x-www-form-urlencoded.
    values = models.TextField()
    saved_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["person", "page"], name="one_draft_per_person_and_page")]

    def __str__(self) -> str:
        return f"{self.person_id} {self.page}"
