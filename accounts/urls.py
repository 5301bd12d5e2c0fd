"""URLs of accounts."""

from django.urls import path

from accounts.views import account, bi, jssdk, pages, panel, refusals, wecom
from integrations import links

urlpatterns = [
    path("login/", pages.Login.as_view(), name="login"),
    path("login/company/", pages.choose_company, name="choose-company"),
    path("login/trouble/", refusals.show, name="sign-in-trouble"),
    path("login/trouble/ask/", refusals.ask, name="ask-for-link"),
    path("account/", account.show, name="account"),
    path("account/sessions/<int:pk>/end/", account.end_session, name="end-session"),
    path("account/sessions/end/", account.end_all_sessions, name="end-all-sessions"),
    path("logout/", pages.logout, name="logout"),
    path("wecom/signature/", jssdk.signature, name="wecom-signature"),
    path("wecom/<int:corp_id>/start/", wecom.start, name="wecom-start"),
    path("wecom/<int:corp_id>/panel/", panel.begin, name="wecom-panel"),
    # Under integrations.bi.entry.ROOT.
    path("bi/", bi.enter, name="bi-home"),
    path("bi/<path:page>", bi.enter, name="bi-page"),
    path(links.CALLBACK_ROUTE, wecom.callback, name="wecom-callback"),
]
