"""Admin pages of imports of people (upload, check, confirmation, result), and of exports."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.admin.base import Column, RunPages
from accounts.audit import services
from accounts.directory.hooks import SYNC_PERMISSION
from accounts.explanations import explain_import
from accounts.importexport import jobs, sheets
from accounts.importexport.jobs import MAY_CHANGE, MAY_IMPORT, TO_WRITE
from accounts.importexport.planner import MAY_ADD
from accounts.importexport.sheets import ROWS_AT_MOST, name_column, read_attribute_names
from accounts.models import AuditEntry, ImportRow, PeopleImport, User
from accounts.users.roles import sees_all
from accounts.views.confirmation import get_signed_in_person
from integrations.admin.base import find_row, make_routes, show_page
from integrations.core.admin_pages import AnyModelAdmin, AnyModelForm, ConfirmedChanges
from integrations.jobs import requests
from integrations.models import Corp, Job

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


FOLDER = "admin/accounts/peopleimport"
FILE_BYTES = 20 * 2**20
ROWS_A_PAGE = 100
Status, Outcome = PeopleImport.Status, ImportRow.Outcome


def may_import(person: User | AnonymousUser) -> bool:
    """Return whether the person may import and download people. This needs the permissions to import and to change
    them."""
    return person.has_perms((MAY_IMPORT, MAY_CHANGE))


def may_confirm(person: User | AnonymousUser, run: PeopleImport) -> bool:
    """Return whether the person may confirm a checked import. If it creates people, this needs the permission to add
    them."""
    return may_import(person) and (not run.counts.get(Outcome.CREATE) or person.has_perm(MAY_ADD))


def explain_origin_of_people(request: HttpRequest) -> SafeString:
    """Explain that a company's directory creates people, with a link to the page where it is synchronised or set up."""
    corp = Corp.objects.visible_to(request.user).enabled().order_by("pk").first()
    if corp is None:
        words, url = gettext("First connect a company and enable it."), reverse("admin:integrations_corp_changelist")
    else:
        words, url = gettext("Sync directory now"), reverse("admin:integrations_syncrun_start", args=[corp.pk])
    sentence = gettext(
        "An import changes existing people, and creates others only if you tick that option. A company's directory "
        "creates people by itself: {link}"
    )
    may_open = request.user.has_perm("integrations.view_corp" if corp is None else SYNC_PERMISSION)
    return format_html(sentence, link=format_html('<a href="{}">{}</a>', url, words) if may_open else words)


class UploadForm(AnyModelForm):
    """Form to upload a file. `editor`: the uploader."""

    file = forms.FileField(
        label=_("File"),
        help_text=_(
            "xlsx or csv, up to 20 MB and 100,000 rows. Nothing is changed before you have seen what would change."
        ),
        widget=forms.FileInput({"accept": ".xlsx,.csv,.txt", "autofocus": True}),
    )
    field_order = ("file",)

    class Meta:
        model = PeopleImport
        fields = ("corp", "match_by", "clears_empty", "creates_people")
        help_texts = {
            "corp": _("For the file of WeCom's console, which does not name its company."),
            "match_by": _(
                "For files without a column “username”. A person who is already linked with the WeCom account in the "
                "file is found by that account."
            ),
            "clears_empty": _("Otherwise an empty cell changes nothing."),
            "creates_people": _(
                "Missing people are created without a password, and sign in with WeCom. The preview lists everybody "
                "who would be created."
            ),
        }

    def __init__(self, *args: Any, editor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["corp"].queryset = Corp.objects.visible_to(editor)  # type: ignore[attr-defined]  # a ModelChoiceField
        if not editor.has_perm(MAY_ADD):
            del self.fields["creates_people"]

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > FILE_BYTES:
            raise forms.ValidationError(gettext("The file is larger than 20 MB. Divide it."))
        return file


@admin.register(PeopleImport)
class PeopleImportAdmin(ConfirmedChanges, RunPages):
    folder = FOLDER
    kind = jobs.IMPORT_KIND
    empty_list = _(
        "Uploaded sheets of people are listed here, each with what it changed. Nothing changes before you confirm."
    )
    # Uploading a file needs no confirmation, because it changes nothing.
    unconfirmed_pages = frozenset({"accounts_peopleimport_add"})
    list_display = (
        *("file_name", "status"),
        Column("created_count", pgettext_lazy("import", "created"), lambda run: run.counts.get(Outcome.CREATED, 0)),
        Column("changed_count", pgettext_lazy("import", "changed"), lambda run: run.counts.get(Outcome.APPLIED, 0)),
        Column("refused_count", pgettext_lazy("import", "refused"), lambda run: run.counts.get(Outcome.REFUSED, 0)),
        *("requested_by_name", "requested_at"),
    )
    list_filter = ("status",)

    class Media:
        css = {"all": ["integrations/corp.css", "accounts/imports.css"]}
        js = ["integrations/live.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[PeopleImport]:
        """Return all imports to administrators of all companies, and to others only their own."""
        runs = PeopleImport.objects.select_related("corp").order_by("-pk")
        return runs if sees_all(request.user) else runs.filter(requested_by=request.user.pk)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may_import(request.user)

    def get_urls(self) -> list[URLPattern]:
        views = {
            ("<int:run_id>/answer/", "answer"): require_POST(self.answer_view),
            ("<int:run_id>/refused.csv", "refused"): require_GET(self.refused_view),
        }
        return [*make_routes(self, views), *super().get_urls()]

    # --- Uploading ----------------------------------------------------------------------------------------------------

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        editor = get_signed_in_person(request)
        form = UploadForm(request.POST if request.method == "POST" else None, request.FILES or None, editor=editor)
        if form.is_valid():
            file = form.cleaned_data.pop("file")
            run = jobs.request_import(
                editor=editor,
                file_name=file.name,
                content=file.read(),
                now=timezone.now(),
                **form.cleaned_data,
            )
            self.log_addition(request, run, gettext("Uploaded for import."))
            return _redirect_to_import(run)
        context = {"title": _("Import people"), "form": form, "origin": explain_origin_of_people(request)}
        return show_page(self, request, f"{FOLDER}/upload.html", context)

    # --- One import ---------------------------------------------------------------------------------------------------

    def describe_page(self, request: HttpRequest, run: PeopleImport, state: dict[str, Any]) -> dict[str, Any]:
        return {"title": run.file_name, "rows_html": state["parts"]["import-rows"]}

    def answer_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Confirm a checked import in one of the two modes, or discard it."""
        run = find_row(self, request, run_id, to_change=False)
        answer, now = request.POST.get("answer", ""), timezone.now()
        if not (may_import(request.user) if answer == "discard" else may_confirm(request.user, run)):
            raise PermissionDenied
        if answer == "discard":
            is_done = jobs.discard_import(run=run, now=now)
        else:
            ip = request.META.get("REMOTE_ADDR") or None
            is_done = jobs.confirm_import(run=run, mode=answer, editor=get_signed_in_person(request), ip=ip, now=now)
        if not is_done:
            messages.warning(request, gettext("This import no longer waits for an answer."))
        elif answer != "discard":
            self.log_change(request, run, gettext("Confirmed."))
        return _redirect_to_import(run)

    def refused_view(self, request: HttpRequest, run_id: int) -> StreamingHttpResponse:
        """Return the refused rows with their reasons as csv, to be corrected and uploaded again."""
        run = find_row(self, request, run_id, to_change=False)
        titles = [(title, target) for title, target in run.titles if target]
        rows = ImportRow.objects.filter(run=run, outcome=Outcome.REFUSED).order_by("number")
        header = [gettext("row"), gettext("reason"), *(title for title, _target in titles)]
        lines = (
            [
                str(row.number),
                explain_import(row.reason, row.words),
                *(row.cells.get(target, "") for _title, target in titles),
            ]
            for row in rows.iterator(chunk_size=1000)
        )
        return sheets.make_csv_response(f"refused-{run_id}.csv", chain([header], lines))

    def describe_facts(self, request: HttpRequest, run: PeopleImport) -> dict[str, Any]:
        counts, names = run.counts, read_attribute_names()
        lacks_people = (run.reason == "company_missing" and not Corp.objects.exists()) or ImportRow.objects.filter(
            run=run, reason="nobody"
        ).exists()
        return {
            "origin": explain_origin_of_people(request) if lacks_people else "",
            "same_count": counts.get("same", 0),
            "create_count": counts.get(Outcome.CREATE, 0),
            "change_count": counts.get(Outcome.CHANGE, 0),
            "write_count": sum(counts.get(one, 0) for one in TO_WRITE),
            "created_count": counts.get(Outcome.CREATED, 0),
            "applied_count": counts.get(Outcome.APPLIED, 0),
            "refused_count": counts.get(Outcome.REFUSED, 0),
            "reason": explain_import(run.reason, run.words),
            # Each column of the file with its meaning, which is empty if the column is not used.
            "columns": [(title, name_column(target, names) if target else "") for title, target in run.titles],
            "is_unconfirmed": run.status == Status.UNCONFIRMED and may_import(request.user),
            "may_confirm": may_confirm(request.user, run),
        }

    def describe_state(self, request: HttpRequest, run: PeopleImport) -> dict[str, Any]:
        state = super().describe_state(request, run)
        if state["is_unfinished"]:
            return {**state, "parts": {"import-rows": ""}}
        # Show a page of rows with one outcome: the chosen one, or the first that occurs in this order.
        order = (Outcome.REFUSED, Outcome.CREATE, Outcome.CHANGE, Outcome.CREATED, Outcome.APPLIED)
        present = [one for one in order if run.counts.get(one)]
        wanted = request.GET.get("show", "")
        shown = next((one for one in present if one == wanted), present[0] if present else None)
        matching = ImportRow.objects.filter(run=run, outcome=shown or "").order_by("number")
        page = Paginator(matching, ROWS_A_PAGE).get_page(request.GET.get("p"))
        names = read_attribute_names()
        rows = [
            {
                "row": row,
                "changes": [(name_column(what, names), before, after) for what, before, after in row.changes],
                "reason": explain_import(row.reason, row.words) if row.reason else "",
            }
            for row in page
        ]
        kinds = [(one.value, one.label, run.counts[one], one == shown) for one in present]
        context = {"run": run, "rows": rows, "page": page, "kinds": kinds, "shown": shown}
        return {**state, "parts": {"import-rows": render_to_string(f"{FOLDER}/_rows.html", context, request)}}


def _redirect_to_import(run: PeopleImport) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:accounts_peopleimport_change", args=[run.pk]))


_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# Sheets of more people are made in the background. Each person takes about 0.7 ms.
PEOPLE_AT_ONCE = 2000


class ExportPages(AnyModelAdmin):
    """Mixin of UserAdmin for downloads of people as xlsx and csv."""

    def get_urls(self) -> list[URLPattern]:
        views = {
            ("export.xlsx", "xlsx"): require_http_methods(["GET", "POST"])(self.xlsx_view),
            ("export.csv", "csv"): require_GET(self.csv_view),
            ("export/<int:job_id>/people.xlsx", "sheet"): require_GET(self.sheet_view),
        }
        return [*make_routes(self, views), *super().get_urls()]

    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """Return the listed people as csv. The list's filters and search apply."""
        keys = self._list_keys(request)
        _record_download(len(keys))
        sheet = sheets.PeopleSheet(people=keys, reader=get_signed_in_person(request))
        return sheets.make_csv_response(_make_file_name("csv"), chain([sheet.list_titles()], sheet.iterate_rows()))

    def xlsx_view(self, request: HttpRequest) -> HttpResponseBase:
        """GET: return a small sheet at once, or the page that asks whether to make a large one. POST: start a job that
        makes it."""
        all_keys, reader = self._list_keys(request), get_signed_in_person(request)
        keys = all_keys[:ROWS_AT_MOST]
        if request.method == "POST":
            language, now = get_language() or "", timezone.now()
            payload = {"user_ids": keys, "language": language}
            job = requests.request_job(jobs.EXPORT_KIND, payload=payload, subject=len(keys), by=reader, now=now)
            return HttpResponseRedirect(reverse("admin:integrations_job_change", args=[job.pk]))
        if len(keys) <= PEOPLE_AT_ONCE:
            _record_download(len(keys))
            file = sheets.write_xlsx(sheets.PeopleSheet(people=keys, reader=reader))
            return FileResponse(file, as_attachment=True, filename=_make_file_name("xlsx"), content_type=_XLSX)
        context = {"title": gettext("Download as xlsx"), "count": len(keys), "is_cut": len(all_keys) > ROWS_AT_MOST}
        return show_page(self, request, "admin/accounts/user/request_sheet.html", context)

    def sheet_view(self, request: HttpRequest, job_id: int) -> HttpResponse:
        """Return a finished sheet to the person who asked for it."""
        if not may_import(request.user):
            raise PermissionDenied
        finished = Job.objects.filter(kind=jobs.EXPORT_KIND, status=Job.Status.DONE, forget_at__gt=timezone.now())
        job = get_object_or_404(finished, pk=job_id, asked_by_id=request.user.pk, file__isnull=False)
        _record_download(job.result["count"])
        response = HttpResponse(bytes(job.file or b""), content_type=_XLSX)
        response.headers["Content-Disposition"] = f'attachment; filename="{_make_file_name("xlsx")}"'
        return response

    def _list_keys(self, request: HttpRequest) -> list[int]:
        """List the keys of the listed people, at most ROWS_AT_MOST + 1."""
        if not may_import(request.user) or not self.has_view_permission(request):
            raise PermissionDenied
        changelist: Any = self.get_changelist_instance(request)
        listed = changelist.get_queryset(request).order_by().values("pk")
        people = User.objects.filter(pk__in=listed).order_by("pk")
        return list(people.values_list("pk", flat=True)[: ROWS_AT_MOST + 1])


def _make_file_name(kind: str) -> str:
    return f"people-{timezone.localdate():%Y-%m-%d}.{kind}"


def _record_download(count: int) -> None:
    note = gettext("People downloaded as a sheet: %(count)d.") % {"count": count}
    services.record(action=AuditEntry.Action.DONE, note=note)
