"""URLs of integrations."""

from django.urls import path, re_path

from integrations import views
from integrations.models import CallbackEvent

urlpatterns = [
    path(views.HEALTH_PATH.lstrip("/"), views.answer_readiness, name="health"),  # the path of earlier versions
    path(views.LIVE_PATH.lstrip("/"), views.answer_liveness, name="live"),
    path(views.READY_PATH.lstrip("/"), views.answer_readiness, name="ready"),
    path("docs/", views.redirect_to_first_guide, name="first-guide"),
    path("docs/<path:path>", views.show_guide, name="guides"),
    re_path(r"^WW_verify_([0-9A-Za-z]{16})\.txt$", views.serve_verification_file, name="verification-file"),
    path("wecom/<int:corp_id>/events/", views.receive_event, {"kind": CallbackEvent.Kind.APP}, name="wecom-events"),
    path(
        "wecom/<int:corp_id>/contacts-events/",
        views.receive_event,
        {"kind": CallbackEvent.Kind.CONTACTS},
        name="wecom-contacts-events",
    ),
]
