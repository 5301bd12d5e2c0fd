"""URLs of accounts."""

from django.urls import path

from accounts.views import account, bi, errors, login, wecom
from integrations.companies import links

urlpatterns = [
    path("login/", login.Login.as_view(), name="login"),
    path("login/company/", login.choose_company, name="choose-company"),
    path("login/trouble/", errors.show_error, name="sign-in-error"),
    path("account/", account.show_account, name="account"),
    path("account/sessions/<int:pk>/end/", account.end_session, name="end-session"),
    path("account/sessions/end/", account.end_all_sessions, name="end-all-sessions"),
    path("logout/", login.logout, name="logout"),
    path("wecom/signature/", login.sign_page_address, name="wecom-signature"),
    path("wecom/<int:corp_id>/start/", wecom.start, name="wecom-start"),
    path("wecom/<int:corp_id>/panel/", login.open_panel, name="wecom-panel"),
    # Under integrations.bi.ROOT.
    path("bi/", bi.enter_bi, name="bi-home"),
    path("bi/<path:page>", bi.enter_bi, name="bi-page"),
    path(links.CALLBACK_ROUTE, wecom.callback, name="wecom-callback"),
]
