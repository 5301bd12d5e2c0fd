"""Messages of people who left the company of their primary account go to the account that they have elsewhere."""

from django.db import migrations
from django.db.models import Q


def settle(apps, schema_editor):
    accounts = apps.get_model("accounts", "WeComAccount").objects.using(schema_editor.connection.alias)
    unable = Q(corp__isnull=True) | Q(userid_folded="")
    waiting = accounts.filter(unable, is_primary=True).values("user_id")
    able = accounts.exclude(unable).filter(user_id__in=waiting).order_by("-pk")
    first = dict(able.values_list("user_id", "pk"))  # of several the oldest, which comes last
    for user_id, pk in first.items():
        accounts.filter(user_id=user_id, is_primary=True).update(is_primary=False)
        accounts.filter(pk=pk).update(is_primary=True)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_audit_is_never_truncated")]

    operations = [migrations.RunPython(settle, migrations.RunPython.noop)]
