"""The expected answer of every page and action of the administration for every kind of person.

Add a row here for a new page or action: test_admin_matrix fails without one. `expect` takes the `status` for the
people named and the one for the `unseen` (people who hold the permission, but not for this company). All other staff
get 403; everybody else is sent to the login page (302). tests.admin_world names the people.
"""

from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse

from tests.admin_world import PEOPLE, STAFF, World
from tests.bi import KEY as BI_KEY


@dataclass(frozen=True)
class Row:
    """A request and the status that each person gets.

    `args` are keys of things in the world, or plain words. `query` may contain {source}. `data` is sent as it is;
    `form` holds changes to the form as the page shows it. `changed_by` names the people whose request changes what
    state() returns; nobody else's may.
    """

    page: str
    expected: dict[str, int]
    method: str = "get"
    args: tuple[str, ...] = ()
    query: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    form: dict[str, Any] | None = None
    changed_by: str = ""

    @property
    def label(self) -> str:
        return " ".join([self.method, self.page, *self.args, self.data.get("action", ""), self.query]).strip()

    def path(self, world: World) -> str:
        args = [word[1:] if word.startswith("=") else world.things[word].pk for word in self.args]
        return reverse(f"admin:{self.page}", args=args) + self.query.format(source=world.things["source"].pk)


def expect(people: str, status: int = 200, *, unseen: tuple[str, int] = ("", 0), others: int = 403) -> dict[str, int]:
    """Return the status that each person gets. `others`: that of all staff who are not named."""
    found = {who: 302 if who not in STAFF else others for who in PEOPLE}
    found |= dict.fromkeys(unseen[0].split(), unseen[1])
    return found | dict.fromkeys(people.split(), status)


EVERYBODY_INSIDE = " ".join(STAFF)
# In each pair the first people hold a permission for the first company, the second (…_ELSEWHERE) for another only.
ADMINISTER = SYSTEM, SYSTEM_ELSEWHERE = "U SA S1", "S2"
SYSTEM_OF_ALL = "U SA"
INTEGRATE = INTEGRATION, INTEGRATION_ELSEWHERE = "U SA S1 IA I1", "S2 I2"
INTEGRATION_OF_ALL = "U SA IA"
SEE_CORPS = CORP_READERS, CORP_READERS_ELSEWHERE = f"{INTEGRATION} RA R1", "S2 I2 R2"
SEE_PEOPLE = PEOPLE_READERS, PEOPLE_READERS_ELSEWHERE = "U SA S1 IA I1 PA P1 RA R1", "S2 I2 P2 R2"
EDIT = EDITORS, EDITORS_ELSEWHERE = "U SA S1 PA P1", "S2 P2"
ALL_EDITORS = " ".join(EDIT)
SEE_PUSHES = PUSH_READERS, PUSH_READERS_ELSEWHERE = f"{EDITORS} RA R1", "S2 P2 R2"
SEE_QUEUES = QUEUE_READERS, QUEUE_READERS_ELSEWHERE = f"{INTEGRATION} PA P1 RA R1", "S2 I2 P2 R2"
OTHER_ADDRESS = {"url": "https://new.example.com/", "_confirmed": "1"}
CONDITION = {"conditions-0-aggregate": "count", "conditions-0-comparison": "eq", "conditions-0-value": "0"}
# The people who see the token of P1 (P1, and those who may change P1); TOKEN_BLIND do not.
TOKEN_READERS, TOKEN_ELSEWHERE = "U SA P1", "S1 PA S2 P2"
DEPARTMENT_READERS, DEPARTMENT_READERS_ELSEWHERE = f"{CORP_READERS} PA P1", f"{CORP_READERS_ELSEWHERE} P2"
KEEP_ROBOTS = ROBOT_KEEPERS, ROBOT_KEEPERS_ELSEWHERE = f"{INTEGRATION} PA P1", "S2 I2 P2"
AUDITORS, AUDITORS_ELSEWHERE = "U SA S1 RA R1", "S2 R2"
# People who manage the second company only.
BLIND = "S2 I2 P2 R2"
TOKEN_BLIND = f"N S1 PA IA I1 RA R1 {BLIND}"


def lists(model: str, people: str, elsewhere: str) -> Row:
    """Make the row of a list, which opens for all of these people."""
    return Row(f"{model}_changelist", expect(f"{people} {elsewhere}"))


def reads(model: str, thing: str, people: str, elsewhere: str) -> Row:
    """Make the row of an object's page; people `elsewhere` do not see the object and get 302."""
    return Row(f"{model}_change", expect(people, unseen=(elsewhere, 302)), args=(thing,))


def posts(page: str, people: str, *args: str, status: int = 302, unseen: str = "", **more: Any) -> Row:
    """Make the row of a POST by which `people` change something; the `unseen` get 404."""
    expected = expect(people, status, unseen=(unseen, 404))
    return Row(page, expected, method="post", args=args, changed_by=people, **more)


def history(model: str, thing: str, people: str, blind: str) -> Row:
    """Make the row of a history page. Django looks for the row before the permission, so `blind` are redirected."""
    return Row(f"{model}_history", expect(people, unseen=(blind, 302)), args=(thing,))


def adds(model: str, people: str) -> list[Row]:
    """Make the rows of the empty form and of sending it empty, which shows it again to those who may add."""
    return [Row(f"{model}_add", expect(people)), Row(f"{model}_add", expect(people), method="post")]


def saves(model: str, thing: str, people: str, elsewhere: str, form: dict[str, Any]) -> Row:
    """Make the row of the filled form, sent by `people` with the fields of `form` changed."""
    seen = expect(people, 302, unseen=(elsewhere, 302))
    return Row(f"{model}_change", seen, method="post", args=(thing,), form=form, changed_by=people)


def deletes(model: str, thing: str, people: str, elsewhere: str, *, is_gone: bool = True) -> list[Row]:
    """Make the rows of the confirmation page and of the deletion. `is_gone` is false if another row needs this one."""
    return [
        Row(f"{model}_delete", expect(people, unseen=(elsewhere, 302)), args=(thing,)),
        Row(
            f"{model}_delete",
            expect(people, 302 if is_gone else 200, unseen=(elsewhere, 302)),
            method="post",
            args=(thing,),
            data={"post": "yes"},
            changed_by=people if is_gone else "",
        ),
    ]


def never(page: str, *args: str, method: str = "get", elsewhere: str = "") -> Row:
    """Make the row of a page that nobody may use, superusers included. `elsewhere` cannot see the row and get 302."""
    return Row(page, expect("", unseen=(elsewhere, 302)), method=method, args=args, data={"post": "yes"})


def editable(
    model: str, thing: str, readers: tuple[str, str], adders: str, savers: tuple[str, str], form: dict[str, Any]
) -> list[Row]:
    """Make the rows of the pages of an object that people add and change. The second people of a pair do not see it."""
    return [
        lists(model, *readers),
        *adds(model, adders),
        reads(model, thing, *readers),
        saves(model, thing, *savers, form),
        history(model, thing, readers[0], BLIND),
    ]


def readonly(model: str, thing: str, readers: str, elsewhere: str) -> list[Row]:
    """Make the rows of the pages of an object that people only read."""
    return [
        lists(model, readers, elsewhere),
        reads(model, thing, readers, elsewhere),
        history(model, thing, readers, BLIND),
        never(f"{model}_add"),
        never(f"{model}_change", thing, method="post"),
        never(f"{model}_delete", thing, method="post"),
    ]


def singleton(model: str, thing: str, people: str) -> list[Row]:
    """Make the rows of the pages of a table with a single row; the list redirects to that row."""
    return [
        Row(f"{model}_changelist", expect(people, 302)),
        Row(f"{model}_change", expect(people), args=(thing,)),
        Row(f"{model}_history", expect(people), args=(thing,)),
        never(f"{model}_add"),
        never(f"{model}_delete", thing, method="post"),
    ]


def of_corp(
    page: str,
    people: str,
    status: int = 200,
    *,
    method: str = "get",
    args: tuple[str, ...] = (),
    changes: bool = False,
    **more: Any,
) -> Row:
    """Make the row of our own view on a company's page: 404 for all who do not see the company."""
    seen = expect(people, status, unseen=(BLIND, 404))
    by = people if changes else ""
    return Row(f"integrations_corp_{page}", seen, method=method, args=("corp", *args), changed_by=by, **more)


SITE = [
    Row("index", expect(EVERYBODY_INSIDE)),
    Row("app_list", expect("U SA S1 S2 IA I1 I2 PA P1 P2 RA R1 R2", others=404), args=("=integrations",)),
    Row("app_list", expect("U SA S1 S2 IA I1 I2 PA P1 P2 RA R1 R2", others=404), args=("=notifications",)),
    Row("app_list", expect("U SA S1 S2 IA I1 I2 PA P1 P2 RA R1 R2", others=404), args=("=accounts",)),
    Row("app_list", expect("U", others=404), args=("=auth",)),
    Row("login", {**expect(EVERYBODY_INSIDE, 302), "A": 200, "E": 403}),
    Row("logout", dict.fromkeys(PEOPLE, 302), method="post"),
    Row("first-steps", expect(EVERYBODY_INSIDE), query="?page=/admin/"),
    Row("search", expect(EVERYBODY_INSIDE), query="?q=a"),
    Row("confirm", expect(EVERYBODY_INSIDE)),
    Row("second-factor", expect(EVERYBODY_INSIDE)),
    Row("second-factor-code", expect(EVERYBODY_INSIDE, 302)),
    Row("installation-confirm", expect("U", 302), method="post"),
    Row("maintenance", expect(f"{CORP_READERS} {CORP_READERS_ELSEWHERE}")),
    Row("support-bundle", expect("U"), method="post"),
    Row("password_change", expect(EVERYBODY_INSIDE)),
    Row("password_change_done", expect(EVERYBODY_INSIDE)),
    Row("jsi18n", expect(EVERYBODY_INSIDE)),
    Row("view_on_site", expect("", others=404), args=("=1", "=1")),
]
"""Django's own pages around ours. app_list: 404 where somebody may see nothing of an app."""


def look_up(app: str, model: str, column: str, people: str) -> Row:
    """Make the row of a search for the values of a field with a relation."""
    query = f"?app_label={app}&model_name={model}&field_name={column}"
    return Row("autocomplete", expect(people), query=query)


LOOK_UPS = [
    look_up("notifications", "subscription", "users", "U SA S1 S2 IA I1 I2 PA P1 P2 RA R1 R2"),
    look_up("notifications", "apitoken", "subscriptions", "U SA S1 S2 PA P1 P2 RA R1 R2"),
    look_up("notifications", "apitoken", "send_users", "U SA S1 S2 IA I1 I2 PA P1 P2 RA R1 R2"),
    look_up("notifications", "apitoken", "send_groups", "U SA S1 S2 PA P1 P2"),
    look_up("notifications", "subscription", "groups", "U SA S1 S2 PA P1 P2"),
    look_up("notifications", "subscription", "report", "U SA S1 S2 PA P1 P2 RA R1 R2"),
    Row(
        "integrations_department_search",
        expect(f"{DEPARTMENT_READERS} {DEPARTMENT_READERS_ELSEWHERE}"),
        query="?app_label=notifications&model_name=subscription&field_name=departments",
    ),
    look_up("accounts", "user", "groups", "U SA S1 S2 PA P1 P2"),
    look_up("accounts", "user", "managed_corps", "U SA S1 S2 IA I1 I2 RA R1 R2"),
]

CORPS = [
    *editable("integrations_corp", "corp", SEE_CORPS, INTEGRATION_OF_ALL, INTEGRATE, {"name": "New name"}),
    *deletes("integrations_corp", "corp", INTEGRATION, INTEGRATION_ELSEWHERE, is_gone=False),
    of_corp("enable", INTEGRATION),
    of_corp("enable", INTEGRATION, 409, method="post"),
    of_corp("disable", INTEGRATION),
    of_corp("disable", INTEGRATION, 302, method="post"),
    of_corp("steps", CORP_READERS),
    of_corp("credentials_check", "U", 302, method="post", changes=True),
    of_corp("credentials_discard", "U", 302, method="post", changes=True),
    of_corp("link", CORP_READERS),
    of_corp("write_start", INTEGRATION, 302, method="post", args=("=settings",), changes=True),
    of_corp("write_start", INTEGRATION, 302, method="post", args=("=menu",), changes=True),
    of_corp("write", INTEGRATION, args=("write",)),
    of_corp("write_state", INTEGRATION, args=("write",)),
    of_corp("write_confirm", INTEGRATION, 302, method="post", args=("write",), changes=True),
    of_corp("diagnosis", CORP_READERS),
    of_corp("diagnosis_export", CORP_READERS),
    of_corp("diagnosis_run", INTEGRATION, 302, method="post", changes=True),
    of_corp("diagnosis_message", INTEGRATION, 302, method="post", data={"userid": "worker"}, changes=True),
    of_corp("verification", INTEGRATION, 302, method="post"),
    of_corp("verification_remove", INTEGRATION, 302, method="post", args=("=0123456789abcdef",), changes=True),
    *(
        row
        for kind in ("=app", "=contacts")
        for row in (
            of_corp("callback_state", CORP_READERS, args=(kind,)),
            of_corp("callback_generate", INTEGRATION, 302, method="post", args=(kind,), changes=True),
            of_corp("callback_keys", INTEGRATION, method="post", args=(kind,)),
            of_corp("callback_paste", INTEGRATION, args=(kind,)),
            of_corp(
                "callback_paste",
                INTEGRATION,
                302,
                method="post",
                args=(kind,),
                data={"token": "t" * 32, "aes_key": "k" * 43},
                changes=True,
            ),
        )
    ),
    *editable(
        *("integrations_siteaddress", "address", SEE_CORPS, INTEGRATION_OF_ALL),
        (INTEGRATION_OF_ALL, INTEGRATION_ELSEWHERE),
        OTHER_ADDRESS,
    ),
    saves("integrations_siteaddress", "default_address", "U", "", OTHER_ADDRESS),
    *deletes("integrations_siteaddress", "address", INTEGRATION_OF_ALL, INTEGRATION_ELSEWHERE, is_gone=False),
]

BI_READERS = "U SA IA RA"
BI = [
    *singleton("integrations_biconnection", "bi", BI_READERS),
    saves("integrations_biconnection", "bi", "U SA", "", {"provider": "Other"}),
    Row("integrations_biconnection_state", expect(BI_READERS)),
    Row("integrations_biconnection_generate", expect("U SA", 302), method="post", changed_by="U SA"),
    Row("integrations_biconnection_paste", expect("U")),
    posts("integrations_biconnection_paste", "U", data={"private_key": BI_KEY}),
    Row("integrations_biconnection_test", expect("U SA", 302), method="post", changed_by="U SA"),
    Row("integrations_biconnection_enter", expect("U SA", 302), method="post"),
]

SOURCE_READERS, SOURCE_READERS_ELSEWHERE = f"{INTEGRATION} PA P1 RA R1", "S2 I2 P2 R2"
SEE_SOURCES = SOURCE_READERS, SOURCE_READERS_ELSEWHERE
KEEP_CARDS = CARD_KEEPERS, CARD_KEEPERS_ELSEWHERE = f"{INTEGRATION} PA P1", "S2 I2 P2"
OF_SOURCE = "?source={source}"
SOURCES = [
    *editable("integrations_datasource", "source", SEE_SOURCES, " ".join(INTEGRATE), INTEGRATE, {"name": "New name"}),
    *deletes("integrations_datasource", "source", INTEGRATION, INTEGRATION_ELSEWHERE, is_gone=False),
    Row(
        "integrations_datasource_test",
        expect(INTEGRATION, 302, unseen=(INTEGRATION_ELSEWHERE, 404)),
        method="post",
        args=("source",),
        changed_by=INTEGRATION,
    ),
    Row("integrations_datasource_try", expect(" ".join(INTEGRATE)), method="post"),
    Row("integrations_datasource_tried", expect("", unseen=(" ".join(INTEGRATE), 404)), args=("=x",)),
    Row("integrations_datasource_state", expect(INTEGRATION, unseen=(INTEGRATION_ELSEWHERE, 404)), args=("source",)),
    *editable("integrations_card", "card", SEE_SOURCES, " ".join(KEEP_CARDS), KEEP_CARDS, {"name": "New name"}),
    *deletes("integrations_card", "card", CARD_KEEPERS, CARD_KEEPERS_ELSEWHERE),
    posts("integrations_card_test", CARD_KEEPERS, "card", unseen=CARD_KEEPERS_ELSEWHERE),
    Row("integrations_card_try", expect(" ".join(KEEP_CARDS)), method="post"),
    Row("integrations_card_tried", expect("", unseen=(" ".join(KEEP_CARDS), 404)), args=("=x",)),
    Row("integrations_card_choose", expect(CARD_KEEPERS, unseen=(CARD_KEEPERS_ELSEWHERE, 404)), query=OF_SOURCE),
    posts("integrations_card_choose", CARD_KEEPERS, unseen=CARD_KEEPERS_ELSEWHERE, query=OF_SOURCE),
    Row("integrations_card_choose_state", expect(CARD_KEEPERS, unseen=(CARD_KEEPERS_ELSEWHERE, 404)), query=OF_SOURCE),
    Row("integrations_card_state", expect(CARD_KEEPERS, unseen=(CARD_KEEPERS_ELSEWHERE, 404)), args=("card",)),
]

# A failed job of the first company that nobody in the table asked for.
JOB_BLIND = f"{INTEGRATION_ELSEWHERE} N PA P1 P2 RA R1 R2"
JOBS = [
    lists("integrations_job", EVERYBODY_INSIDE, ""),
    Row("integrations_job_change", expect(INTEGRATION, unseen=(JOB_BLIND, 302)), args=("job",)),
    history("integrations_job", "job", INTEGRATION, JOB_BLIND),
    never("integrations_job_add"),
    never("integrations_job_change", "job", method="post"),
    never("integrations_job_delete", "job", method="post"),
    Row("integrations_job_state", expect(INTEGRATION, unseen=(JOB_BLIND, 404)), args=("job",)),
    Row(
        "integrations_job_retry",
        expect(INTEGRATION, 302, unseen=(JOB_BLIND, 404)),
        method="post",
        args=("job",),
        changed_by=INTEGRATION,
    ),
]

ACCOUNTS = [
    *editable(*("accounts_user", "worker", SEE_PEOPLE, " ".join(ADMINISTER)), *(ADMINISTER, {"name": "New name"})),
    *deletes("accounts_user", "worker", SYSTEM, SYSTEM_ELSEWHERE),
    Row("accounts_user_card", expect(PEOPLE_READERS, unseen=(PEOPLE_READERS_ELSEWHERE, 404)), args=("worker",)),
    Row("accounts_user_grid", expect(" ".join(ADMINISTER))),
    Row("accounts_user_grid", expect(" ".join(ADMINISTER), 302), method="post"),
    Row("auth_user_password_change", expect(SYSTEM, unseen=(SYSTEM_ELSEWHERE, 404)), args=("worker",)),
    posts(
        "auth_user_password_change",
        SYSTEM,
        "worker",
        unseen=SYSTEM_ELSEWHERE,
        data={"password1": "new-password-1", "password2": "new-password-1", "usable_password": "true"},
    ),
    lists("accounts_attribute", PEOPLE_READERS, PEOPLE_READERS_ELSEWHERE),
    *adds("accounts_attribute", SYSTEM_OF_ALL),
    Row("accounts_attribute_change", expect(" ".join(SEE_PEOPLE)), args=("attribute",)),
    saves("accounts_attribute", "attribute", SYSTEM_OF_ALL, "", {"name": "New name"}),
    Row("accounts_attribute_history", expect(" ".join(SEE_PEOPLE)), args=("attribute",)),
    *deletes("accounts_attribute", "attribute", SYSTEM_OF_ALL, ""),
    Row("accounts_user_xlsx", expect(" ".join(ADMINISTER))),
    posts("accounts_user_xlsx", " ".join(ADMINISTER)),
    Row("accounts_user_csv", expect(" ".join(ADMINISTER))),
    # Only the person who asked for a sheet sees it: S1.
    Row("accounts_user_sheet", expect("S1", unseen=("U SA S2", 404)), args=("export",)),
    lists("accounts_peopleimport", SYSTEM, SYSTEM_ELSEWHERE),
    *adds("accounts_peopleimport", " ".join(ADMINISTER)),
    reads("accounts_peopleimport", "import", SYSTEM, SYSTEM_ELSEWHERE),
    # An upload of S1 is seen by S1 and by those who see all people.
    history("accounts_peopleimport", "import", SYSTEM, f"N I1 P1 R1 {BLIND}"),
    never("accounts_peopleimport_change", "import", method="post"),
    never("accounts_peopleimport_delete", "import", method="post"),
    Row("accounts_peopleimport_state", expect(SYSTEM, unseen=(f"N I1 P1 R1 {BLIND}", 404)), args=("import",)),
    Row("accounts_peopleimport_refused", expect(SYSTEM, unseen=(f"N I1 P1 R1 {BLIND}", 404)), args=("import",)),
    *(
        posts("accounts_peopleimport_answer", SYSTEM, "import", unseen=f"N I1 P1 R1 {BLIND}", data={"answer": answer})
        for answer in ("skip", "discard")
    ),
    *readonly("accounts_auditentry", "entry", AUDITORS, AUDITORS_ELSEWHERE),
    Row("accounts_auditentry_csv", expect(f"{AUDITORS} {AUDITORS_ELSEWHERE}")),
    lists("accounts_lockout", SYSTEM, SYSTEM_ELSEWHERE),
    reads("accounts_lockout", "lockout", SYSTEM, SYSTEM_ELSEWHERE),
    history("accounts_lockout", "lockout", SYSTEM, BLIND),
    never("accounts_lockout_add"),
    never("accounts_lockout_change", "lockout", method="post"),
    *deletes("accounts_lockout", "lockout", SYSTEM, SYSTEM_ELSEWHERE),
    *singleton("notifications_operatorcontacts", "operators", "U"),
    Row("notifications_operatorcontacts_change", expect("U", 302), method="post", args=("operators",)),
    *singleton("notifications_workdaycalendar", "calendar", "U SA PA"),
    posts("notifications_workdaycalendar_change", "U SA PA", "calendar", form={"days": "2027-02-08 休"}),
    *singleton("accounts_signinpolicy", "policy", "U SA"),
    Row("accounts_signinpolicy_change", expect("U SA"), method="post", args=("policy",)),
    Row("auth_group_changelist", expect("U")),
    *adds("auth_group", "U"),
    Row("auth_group_change", expect("U"), args=("group",)),
    Row("auth_group_change", expect("U", 302), method="post", args=("group",), form={"name": "x"}, changed_by="U"),
    Row("auth_group_history", expect("U"), args=("group",)),
    *deletes("auth_group", "group", "U", ""),
]

PUSHES = [
    *(
        row
        for model in ("report", "subscription")
        for row in (
            lists(f"notifications_{model}", PUSH_READERS, PUSH_READERS_ELSEWHERE),
            *adds(f"notifications_{model}", ALL_EDITORS),
            history(f"notifications_{model}", model, PUSH_READERS, BLIND),
            *deletes(f"notifications_{model}", model, EDITORS, EDITORS_ELSEWHERE, is_gone=model == "subscription"),
        )
    ),
    reads("notifications_subscription", "subscription", PUSH_READERS, PUSH_READERS_ELSEWHERE),
    # Those who may change the push that sends the report are redirected to it.
    Row("notifications_report_change", expect("RA R1", unseen=(f"{ALL_EDITORS} R2", 302)), args=("report",)),
    reads("notifications_report", "lone_report", PUSH_READERS, PUSH_READERS_ELSEWHERE),
    saves("notifications_report", "lone_report", EDITORS, EDITORS_ELSEWHERE, {"title": "New title"}),
    Row(
        "notifications_subscription_change",
        expect(EDITORS, unseen=(EDITORS_ELSEWHERE, 302)),
        method="post",
        args=("subscription",),
        data={"name": ""},
    ),
    # A preview is shown only to the person for whom it was made: tests/notifications/reports/test_report_drawings.py.
    Row("notifications_preview", expect("", unseen=(ALL_EDITORS, 404)), args=("=x",)),
    Row("notifications_preview_file", expect("", unseen=(ALL_EDITORS, 404)), args=("=x", "=svg")),
    Row("notifications_subscription_week", expect(" ".join(SEE_PUSHES))),
    Row("notifications_subscription_preview", expect(ALL_EDITORS), method="post"),
    Row("notifications_subscription_rename", expect(ALL_EDITORS), method="post"),
    Row("notifications_subscription_draft", expect(ALL_EDITORS), method="post"),
    # Whoever sees the BI's data source can list the BI's pages.
    Row("notifications_subscription_data", expect(ALL_EDITORS), method="post", changed_by=EDITORS),
    # There are no cards of the BI without a data source of the BI.
    Row("notifications_subscription_data_choose", expect("", unseen=(ALL_EDITORS, 404)), method="post"),
    *(
        Row(
            f"notifications_subscription_{page}",
            expect(EDITORS, status, unseen=(BLIND, 404)),
            method=method,
            args=("subscription",),
            changed_by=EDITORS if page in {"copy", "again"} else "",
        )
        for page, method, status in (
            *(("run", "get", 200), ("run", "post", 409)),
            *(("try", "post", 302), ("copy", "post", 302), ("again", "post", 302)),
        )
    ),
    *editable("notifications_robot", "robot", SEE_QUEUES, " ".join(KEEP_ROBOTS), KEEP_ROBOTS, {"name": "New name"}),
    *deletes("notifications_robot", "robot", ROBOT_KEEPERS, ROBOT_KEEPERS_ELSEWHERE),
    lists("django_celery_beat_periodictask", "U", ""),
    never("django_celery_beat_periodictask_add"),
    reads("django_celery_beat_periodictask", "periodic_task", "U", ""),
    posts("django_celery_beat_periodictask_change", "U", "periodic_task", form={"enabled": "on"}),
    history("django_celery_beat_periodictask", "periodic_task", "U", ""),
    never("django_celery_beat_periodictask_delete", "periodic_task"),
    lists("notifications_apitoken", EDITORS, EDITORS_ELSEWHERE),
    *adds("notifications_apitoken", ALL_EDITORS),
    reads("notifications_apitoken", "token", TOKEN_READERS, TOKEN_ELSEWHERE),
    history("notifications_apitoken", "token", TOKEN_READERS, TOKEN_BLIND),
    never("notifications_apitoken_change", "token", method="post"),
    never("notifications_apitoken_delete", "token", method="post"),
    *(
        Row(
            "notifications_apitoken_revoke",
            expect(TOKEN_READERS, status, unseen=(TOKEN_BLIND, 404)),
            method=method,
            args=("token",),
            changed_by=TOKEN_READERS if method == "post" else "",
        )
        for method, status in (("get", 200), ("post", 302))
    ),
    *(
        Row(
            f"notifications_{model}_successor",
            expect(people, 200 if method == "get" else 302, unseen=(elsewhere, 404)),
            method=method,
            args=(thing,),
        )
        for model, thing, people, elsewhere in (
            ("apitoken", "token", TOKEN_READERS, TOKEN_ELSEWHERE),
            ("inboundchannel", "channel", TOKEN_READERS, TOKEN_ELSEWHERE),
            ("subscription", "subscription", EDITORS, EDITORS_ELSEWHERE),
            ("alertrule", "alert_rule", EDITORS, EDITORS_ELSEWHERE),
        )
        for method in ("get", "post")
    ),
    lists("notifications_inboundchannel", EDITORS, EDITORS_ELSEWHERE),
    *adds("notifications_inboundchannel", ALL_EDITORS),
    *(
        row
        for thing in ("channel", "mail channel")
        for row in (
            reads("notifications_inboundchannel", thing, TOKEN_READERS, TOKEN_ELSEWHERE),
            saves(*("notifications_inboundchannel", thing, TOKEN_READERS, TOKEN_ELSEWHERE), {"name": "New name"}),
        )
    ),
    history("notifications_inboundchannel", "channel", TOKEN_READERS, TOKEN_BLIND),
    *deletes("notifications_inboundchannel", "channel", TOKEN_READERS, TOKEN_ELSEWHERE),
    posts("notifications_inboundchannel_secret", TOKEN_READERS, "channel", status=200, unseen=TOKEN_BLIND),
    *(
        Row(f"notifications_inboundchannel_{page}", expect(TOKEN_READERS, unseen=(TOKEN_BLIND, 404)), args=("channel",))
        for page in ("calls", "stamp")
    ),
    Row(
        "notifications_inboundchannel_preview",
        expect(TOKEN_READERS, unseen=(TOKEN_BLIND, 404)),
        method="post",
        args=("channel",),
    ),
    *editable(
        *("notifications_alertrule", "alert_rule", SEE_PUSHES, ALL_EDITORS, EDIT),
        {"name": "New name", "weekdays": [], **CONDITION},
    ),
    *deletes("notifications_alertrule", "alert_rule", EDITORS, EDITORS_ELSEWHERE, is_gone=True),
    posts("notifications_alertrule_switch", EDITORS, "alert_rule", unseen=BLIND),
    Row("notifications_alertrule_preview", expect(ALL_EDITORS), method="post"),
    Row("notifications_alertrule_rename", expect(ALL_EDITORS), method="post"),
    Row("notifications_alertrule_draft", expect(ALL_EDITORS), method="post"),
    # Same as on the page of a push.
    Row("notifications_alertrule_data", expect(ALL_EDITORS), method="post", changed_by=EDITORS),
    Row("notifications_alertrule_data_choose", expect("", unseen=(ALL_EDITORS, 404)), method="post"),
    *readonly("notifications_incident", "incident", *SEE_PUSHES),
    Row(
        "notifications_incident_picture",
        expect(PUSH_READERS, unseen=(BLIND, 404)),
        args=("incident", "incident_picture", "=svg"),
    ),
    posts("notifications_incident_act", EDITORS, "incident", unseen=BLIND, data={"action": "take"}),
    *readonly("notifications_incomingmessage", "message", *SEE_PUSHES),
    Row("notifications_incomingmessage_mail", expect(PUSH_READERS, unseen=(BLIND, 404)), args=("message",)),
    lists("notifications_corpqueue", QUEUE_READERS, QUEUE_READERS_ELSEWHERE),
    reads("notifications_corpqueue", "queue", QUEUE_READERS, QUEUE_READERS_ELSEWHERE),
    saves("notifications_corpqueue", "queue", INTEGRATION, INTEGRATION_ELSEWHERE, {"is_paused": "on"}),
    history("notifications_corpqueue", "queue", QUEUE_READERS, BLIND),
    never("notifications_corpqueue_add"),
    never("notifications_corpqueue_delete", "queue", method="post"),
    # Its run is no trial.
    Row("notifications_subscription_trial", expect(EDITORS, 404, unseen=(BLIND, 404)), args=("subscription", "run")),
    Row(
        "notifications_subscription_switch",
        expect(EDITORS, unseen=(BLIND, 404)),
        method="get",
        args=("subscription", "=pause"),
    ),
    Row("notifications_subscription_runs", expect(PUSH_READERS, unseen=(BLIND, 404)), args=("subscription",)),
    Row("notifications_run_state", expect(PUSH_READERS, unseen=(BLIND, 404)), args=("run",)),
    *(
        Row(f"notifications_run_{page}", expect(EDITORS, status, unseen=(BLIND, 404)), method=method, args=("run",))
        for page, method, status in (("resend", "get", 403), ("resend", "post", 403), ("recall", "get", 200))
    ),
    posts("notifications_run_recall", EDITORS, "run", unseen=BLIND),
    # A delivery that waits, so that it can be recalled and cannot be sent again.
    *(
        Row(
            f"notifications_delivery_{page}",
            expect(EDITORS, status, unseen=(BLIND, 404)),
            method=method,
            args=("delivery",),
            changed_by=EDITORS if (page, method) == ("recall", "post") else "",
        )
        for page, method, status in (
            *(("resend", "get", 200), ("resend", "post", 200)),
            *(("recall", "get", 200), ("recall", "post", 302)),
        )
    ),
    *(
        Row(f"notifications_{model}_csv", expect(" ".join(SEE_PUSHES)))
        for model in ("run", "delivery", "receipt", "incident", "incomingmessage")
    ),
    # The delivery has no picture: 404 even for those who may see it.
    Row("notifications_delivery_picture", expect(PUSH_READERS, 404), args=("delivery",)),
    *(row for name in ("run", "delivery", "receipt") for row in readonly(f"notifications_{name}", name, *SEE_PUSHES)),
]


DIRECTORY = [
    *editable("accounts_directorypolicy", "rules", SEE_CORPS, SYSTEM_OF_ALL, (SYSTEM_OF_ALL, ""), {"mode": "create"}),
    never("accounts_directorypolicy_delete", "rules", method="post"),
    *editable(
        *("accounts_departmentgroup", "rule", SEE_CORPS, SYSTEM_OF_ALL, (SYSTEM_OF_ALL, "")),
        {"with_subdepartments": ""},
    ),
    *deletes("accounts_departmentgroup", "rule", SYSTEM_OF_ALL, ""),
    *(
        row
        for model, thing, readers, elsewhere in (
            ("integrations_department", "department", DEPARTMENT_READERS, DEPARTMENT_READERS_ELSEWHERE),
            ("integrations_member", "member", CORP_READERS, CORP_READERS_ELSEWHERE),
            ("integrations_syncrun", "sync", CORP_READERS, CORP_READERS_ELSEWHERE),
            ("accounts_linkconflict", "conflict", CORP_READERS, CORP_READERS_ELSEWHERE),
        )
        for row in readonly(model, thing, readers, elsewhere)
    ),
    Row("accounts_linkconflict_link", expect("U SA S1 S2", 404)),
    Row("accounts_linkconflict_link", expect("U SA S1 S2", 404), method="post"),
    Row("accounts_linkconflict_create", expect("U SA S1 S2", 404), method="post"),
    Row("accounts_linkconflict_bulk", expect("U SA S1 S2")),
    Row("accounts_linkconflict_bulk", expect("U SA S1 S2"), method="post"),
    Row("integrations_syncrun_start", expect(INTEGRATION, unseen=(BLIND, 404)), args=("corp",)),
    posts("integrations_syncrun_start", INTEGRATION, "corp", unseen=BLIND),
    posts(
        "integrations_syncrun_policy",
        SYSTEM_OF_ALL,
        "corp",
        unseen=BLIND,
        data={"mode": "link", "match_username": "on", "leavers": "unlink", "_opened": "integrations_syncrun_start"},
    ),
    Row("integrations_syncrun_again", expect(INTEGRATION, 302, unseen=(BLIND, 404)), method="post", args=("corp",)),
    Row("integrations_syncrun_state", expect(CORP_READERS, unseen=(BLIND, 404)), args=("sync",)),
    *(
        posts("integrations_syncrun_answer", INTEGRATION, "sync", unseen=BLIND, data={"answer": answer})
        for answer in ("yes", "no")
    ),
]


def action(page: str, name: str, thing: str, readers: str, doers: str, changed_by: str, **more: Any) -> Row:
    """Make the row of an action. `readers` who may not do it are not offered it: the list is shown again."""
    expected = {**expect(readers), **dict.fromkeys(doers.split(), 302)}
    data = {"action": name, "_pick": thing, **more}
    return Row(f"{page}_changelist", expected, method="post", data=data, changed_by=changed_by)


ALL_SYSTEM = " ".join(ADMINISTER)
ACTIONS = [
    *(
        action("notifications_delivery", name, "delivery", " ".join(SEE_PUSHES), ALL_EDITORS, "")
        for name in ("resend", "recall")
    ),
    action(
        # S1 does not see the other company, so the form is shown again. S2 does not see the person.
        *("accounts_user", "set_company", "worker", " ".join(SEE_PEOPLE), "U SA S2", SYSTEM_OF_ALL),
        apply="1",
        corp="second",
    ),
    action(
        *("accounts_user", "set_attribute", "worker", " ".join(SEE_PEOPLE), ALL_SYSTEM, SYSTEM),
        _attribute="attribute",
        apply="1",
        values="North",
    ),
    action(*("accounts_user", "delete_selected", "worker", " ".join(SEE_PEOPLE), ALL_SYSTEM, SYSTEM), post="yes"),
    action("integrations_member", "admit", "member", " ".join(SEE_CORPS), " ".join(INTEGRATE), INTEGRATION),
    *(
        action(
            *("notifications_subscription", name, "subscription", " ".join(SEE_PUSHES), ALL_EDITORS),
            # The push is enabled and reaches nobody; it is not paused.
            EDITORS if name in {"disable", "pause", "duplicate"} else "",
            apply="1",
        )
        for name in ("enable", "disable", "pause", "resume", "duplicate")
    ),
    action("accounts_lockout", "unlock", "lockout", "", ALL_SYSTEM, SYSTEM),
    action("auth_group", "delete_selected", "group", "", "U", "U", post="yes"),
]

TABLE = [*SITE, *LOOK_UPS, *CORPS, *BI, *SOURCES, *JOBS, *ACCOUNTS, *PUSHES, *DIRECTORY, *ACTIONS]
