from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="peopleimport",
            name="creates_people",
            field=models.BooleanField(db_default=False, default=False, verbose_name="create people who are missing"),
        ),
        migrations.AlterField(
            model_name="importrow",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("create", "would be created"),
                    ("change", "would change"),
                    ("refused", "refused"),
                    ("applied", "changed"),
                    ("created", "created"),
                ],
                max_length=8,
                verbose_name="outcome",
            ),
        ),
    ]
