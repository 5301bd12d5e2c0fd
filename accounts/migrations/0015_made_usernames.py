from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_sessions_by_digest"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="made_username",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=150),
        ),
    ]
