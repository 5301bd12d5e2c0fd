"""The admin with our own site class (title, index)."""

from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    default_site = "guanwecom.admin.GuanwecomAdminSite"
