from __future__ import annotations
from typing import Any
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from accounts.models import AuditEntry, Lockout, User, WeComAccount
from accounts.roles import Role
from accounts import lockout
from integrations.models import Corp
from tests.accounts.conftest import make_person
from tests.accounts.people import LIST, sent_form, signed_in, with_role

@pytest.fixture
def root(db: None) -> User:
    return User.objects.create(username="root", is_staff=True, is_superuser=True)

def test_history(root, corp, other_corp):
    other_corp.name = "GEHEIM-CORP"; other_corp.save()
    p = make_person("zs", corp, "zs")
    c = signed_in(root)
    path = f"{LIST}{p.pk}/change/"
    sent = sent_form(c, path)
    print(sent)
    n = int(sent["wecom_accounts-TOTAL_FORMS"])
    sent |= {"wecom_accounts-TOTAL_FORMS": n + 1, f"wecom_accounts-{n}-corp": other_corp.pk, f"wecom_accounts-{n}-userid": "geheim-id", f"wecom_accounts-{n}-user": p.pk}
    r = c.post(path, sent)
    assert r.status_code == 302, r.context["errors"]
    chief = with_role("chief", Role.READ_ONLY, corp)
    h = signed_in(chief).get(f"{LIST}{p.pk}/history/")
    print(h.status_code, "GEHEIM" in h.content.decode(), "geheim-id" in h.content.decode())
    h = signed_in(chief).get(f"{LIST}?q=geheim-id")
    print("search by hidden userid", "zs" in h.content.decode().split("result_list")[1] if "result_list" in h.content.decode() else None)
    for q in (f"managed_corps={other_corp.pk}", f"managed_corps__id__exact={other_corp.pk}", "password__startswith=pbk", f"wecom_accounts__corp={other_corp.pk}", f"wecom_accounts__userid=geheim-id", "wecom_accounts__corp__name=GEHEIM-CORP", "groups__name__startswith=role", "user_permissions=1"):
        h = signed_in(chief).get(f"{LIST}?{q}")
        print(q, h.status_code, h.headers.get("Location"), h.context and h.context["cl"].result_count)

def test_delete_confirm(root, corp, other_corp):
    other_corp.name = "GEHEIM-CORP"; other_corp.save()
    p = make_person("zs", corp, "zs")
    p.is_staff = True; p.save()
    from django.contrib.contenttypes.models import ContentType
    LogEntry.objects.create(user=p, content_type=ContentType.objects.get_for_model(Corp), object_id=other_corp.pk, object_repr=str(other_corp), action_flag=2, change_message="x")
    chief = with_role("chief", Role.SYSTEM_ADMINISTRATOR, corp)
    c = signed_in(chief)
    h = c.get(f"{LIST}{p.pk}/delete/")
    print(h.status_code, "GEHEIM" in h.content.decode())
    import re
    body = h.content.decode()
    i = body.find("GEHEIM"); print(body[i-400:i+200])
    h = c.post(LIST, {"action": "delete_selected", "_selected_action": [p.pk]})
    print(h.status_code, "GEHEIM" in h.content.decode())
    AuditEntry.objects.all().delete()
    h = c.post(f"{LIST}{p.pk}/delete/", {"post": "yes"})
    for e in AuditEntry.objects.all(): print(e.action, e.model, e.subject, repr(e.note), e.changes, e.corp_id)

def test_lockout_delete(root, corp):
    row = Lockout.objects.create(username="my-secret-password", ip_address="192.0.2.1", failures_since_start=9)
    AuditEntry.objects.all().delete()
    c = signed_in(root)
    h = c.post(f"/admin/accounts/lockout/{row.pk}/delete/", {"post": "yes"})
    print(h.status_code)
    for e in AuditEntry.objects.all(): print(e.action, e.model, e.subject, repr(e.note), e.changes)
    for e in LogEntry.objects.all(): print(e.object_repr, e.change_message)

def test_mapped(rf):
    r = rf.get("/", REMOTE_ADDR="::ffff:192.0.2.1")
    print(lockout.network_of(r))

def test_relations():
    for f in User._meta.get_fields(include_hidden=True):
        if f.auto_created and f.is_relation: print(f.related_model, getattr(f, "on_delete", None))
