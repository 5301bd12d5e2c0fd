"""Links in the specification's own words: they name the site's first page, and the inner page in its query.

Our own links name the callback of a company instead (integrations.links): this is for links that somebody wrote by
hand as the specification shows, `https://bi.example.com/?path_url=survey-engine`, alone or in an authorise address.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from accounts.targets import inner_page, raw_query_of
from accounts.views import wecom
from integrations.bi import entry
from integrations.models import Corp


def arrival(request: HttpRequest) -> HttpResponse | None:
    """The answer where the first page is asked for an inner page, or with WeCom's code; None for any other query.

    The code is treated as that of the home page link: never used. Without a company to tell it to it dies by itself,
    and stands in no further address.
    """
    has_code = "code" in request.GET and "state" in request.GET
    if not has_code and "path_url" not in request.GET:
        return None
    corp = _corp_of(request) if has_code else None
    if corp is not None:
        return wecom.callback(request, corp.pk)
    target = entry.landing_of(inner_page(raw_query_of(request)))
    is_in = request.user.is_authenticated
    response = redirect(target if is_in else f"{reverse('login')}?{urlencode({'next': target})}")
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _corp_of(request: HttpRequest) -> Corp | None:
    """Whose link it was: the company with the link's `domain`, also one that signs nobody in; else the only one."""
    domain = request.GET.get("domain", "").replace("\x00", "")
    named = list(Corp.objects.filter(domain_id=domain)[:2]) if domain else []
    found = named or list(Corp.objects.signing_in()[:2])
    return found[0] if len(found) == 1 else None
