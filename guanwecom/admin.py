"""The admin site: Django's own, with our name."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _


class GuanwecomAdminSite(admin.AdminSite):
    site_header = _("guanwecom · Guandata × WeCom")
    site_title = _("guanwecom")
    index_title = _("Administration")
