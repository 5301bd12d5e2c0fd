"""Pages of the admin that a form leads to: confirmations, and forms that come back with errors."""

from __future__ import annotations

from collections.abc import Mapping

from django.urls import reverse
from playwright.sync_api import Page, Response

from accounts.models import Attribute
from integrations.admin.companies import SiteAddressForm
from integrations.models import SiteAddress
from tests.e2e.pages import Rows

# Path and form data; a list stands for several values of one name.
Posted = tuple[str, Mapping[str, str | list[str]]]

# Posts with the page's own CSRF token, like one of its forms.
_SEND = """([path, fields]) => {
  const form = Object.assign(document.createElement("form"), { method: "post", action: path });
  fields.csrfmiddlewaretoken = document.querySelector("[name=csrfmiddlewaretoken]").value;
  for (const [name, values] of Object.entries(fields)) {
    for (const value of [values].flat()) {
      form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    }
  }
  document.body.append(form);
  form.submit();
}"""

EMPTY_FORMS = (
    *("integrations_corp", "integrations_siteaddress", "accounts_user", "accounts_attribute", "accounts_peopleimport"),
    *("accounts_directorypolicy", "accounts_departmentgroup", "auth_group"),
    *("notifications_report", "notifications_subscription", "notifications_robot"),
    "notifications_alertrule",
)


def posted_pages(rows: Rows) -> list[Posted]:
    """Return the pages of a superuser. Posting them changes nothing."""
    return [*_forms_with_errors(rows), *_questions(rows)]


def send(page: Page, base: str, posted: Posted) -> Response:
    """Open a page by posting what a form of the admin would send."""
    page.goto(f"{base}/admin/password_change/")  # a small page with a CSRF token
    with page.expect_navigation() as opened:
        page.evaluate(_SEND, list(posted))
    answer = opened.value
    assert answer is not None
    return answer


def _forms_with_errors(rows: Rows) -> list[Posted]:
    inlines = ("wecom_accounts", "silence_windows")
    no_inlines = {f"{name}-{part}_FORMS": "0" for name in inlines for part in ("TOTAL", "INITIAL")}
    forms: list[Posted] = [(reverse(f"admin:{name}_add"), no_inlines) for name in EMPTY_FORMS]
    address = SiteAddress.objects.default()
    return [
        *forms,
        (
            reverse("admin:integrations_corp_add"),
            {
                "name": rows.corp.name,
                "corpid": "bi.example.com",
                "agentid": "一",
                "department_root_ids": "a",
                "api_base_url": "http://198.51.100.7",
                "domain_id": "你",
            },
        ),
        (
            reverse("admin:notifications_alertrule_add"),
            {
                "conditions-0-aggregate": "sum",
                "conditions-0-value": "viel",
                "conditions-1-column": "销售额",
                "silence_windows-TOTAL_FORMS": "1",
                "silence_windows-INITIAL_FORMS": "0",
                "silence_windows-0-name": "夜间",
                "silence_windows-0-kind": "weekly",
            },
        ),
        (reverse("admin:integrations_siteaddress_change", args=[address.pk]), {"url": "https://报表.example.com/a"}),
        (reverse("admin:integrations_biconnection_paste"), {"private_key": "no key"}),
        (
            reverse("admin:integrations_corp_callback_paste", args=[rows.corp.pk, "app"]),
            {"token": "一", "aes_key": "x"},
        ),
        (reverse("admin:auth_user_password_change", args=[rows.person.pk]), {"password1": "1", "password2": "2"}),
        (reverse("admin:password_change"), {"old_password": "x", "new_password1": "1", "new_password2": "2"}),
    ]


def _questions(rows: Rows) -> list[Posted]:
    people = reverse("admin:accounts_user_changelist")
    chosen = {"_selected_action": [str(rows.root.pk), str(rows.person.pk)]}
    attribute = Attribute.objects.get(key="region")
    address = SiteAddress.objects.default()
    version = SiteAddressForm(instance=address)["page_version"].value()
    return [
        (people, {"action": "set_company", **chosen}),
        (people, {"action": "set_attribute", **chosen}),
        (people, {"action": "set_attribute", "attribute": str(attribute.pk), **chosen}),
        (people, {"action": "delete_selected", "_selected_action": [str(rows.person.pk)]}),
        (
            reverse("admin:integrations_siteaddress_change", args=[address.pk]),
            {"url": "https://bi.example.com/", "page_version": version, "_save": "1"},
        ),
        (reverse("admin:integrations_corp_callback_keys", args=[rows.corp.pk, "app"]), {}),
    ]
