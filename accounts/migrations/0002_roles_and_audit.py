"""Roles, audit trail, lock-out and sign-in policy."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

ROLES = ("role:system-administrator", "role:integration-administrator", "role:push-editor", "role:read-only")


def make_roles(apps, schema_editor):
    """The groups; what they hold is fitted after every migrate (accounts.roles), when all permissions exist."""
    groups = apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias)
    for name in ROLES:
        groups.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("axes", "0010_accessattemptexpiration"),
        ("integrations", "0002_verification_and_callbacks"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="user",
            options={
                "permissions": [("assign_roles", "Can hand out roles")],
                "verbose_name": "user",
                "verbose_name_plural": "users",
            },
        ),
        migrations.CreateModel(
            name="Lockout",
            fields=[],
            options={
                "verbose_name": "wrong passwords",
                "verbose_name_plural": "wrong passwords",
                "proxy": True,
                "default_permissions": ("view", "delete"),
                "indexes": [],
                "constraints": [],
            },
            bases=("axes.accessattempt",),
        ),
        migrations.AddField(
            model_name="wecomaccount",
            name="proven_corp_id",
            field=models.BigIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="wecomaccount",
            name="proven_userid",
            field=models.CharField(blank=True, editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name="wecomaccount",
            name="signed_in_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="last sign-in with WeCom"),
        ),
        migrations.CreateModel(
            name="SignInPolicy",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ("password_enabled", models.BooleanField(default=True, help_text="Off: everybody signs in with WeCom, administrators too.", verbose_name="sign-in with a password")),
                ("changed_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
            ],
            options={
                "verbose_name": "sign-in policy",
                "verbose_name_plural": "sign-in policy",
                "default_permissions": ("view", "change"),
                "constraints": [models.CheckConstraint(condition=models.Q(("pk", 1)), name="one_sign_in_policy")],
            },
        ),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="time")),
                ("actor_name", models.CharField(blank=True, max_length=255, verbose_name="administrator")),
                ("ip", models.GenericIPAddressField(null=True, verbose_name="IP address")),
                ("action", models.CharField(choices=[("created", "created"), ("changed", "changed"), ("deleted", "deleted"), ("done", "done"), ("signed-in", "signed in"), ("sign-in-failed", "sign-in failed"), ("locked-out", "locked out"), ("unlocked", "unlocked")], max_length=16, verbose_name="action")),
                ("model", models.CharField(blank=True, max_length=100, verbose_name="kind")),
                ("object_id", models.BigIntegerField(null=True)),
                ("subject", models.CharField(blank=True, max_length=255, verbose_name="what")),
                ("changes", models.JSONField(default=list, verbose_name="changes")),
                ("note", models.CharField(blank=True, max_length=500, verbose_name="note")),
                ("actor", models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name="+", to=settings.AUTH_USER_MODEL, verbose_name="administrator")),
                ("corp", models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name="+", to="integrations.corp", verbose_name="WeCom company name")),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit trail",
                "ordering": ["-pk"],
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["corp", "-id"], name="audit_by_corp"),
                    models.Index(fields=["model", "object_id", "-id"], name="audit_by_object"),
                    models.Index(fields=["at"], name="audit_by_time"),
                ],
            },
        ),
        migrations.RunPython(make_roles, migrations.RunPython.noop),
    ]
