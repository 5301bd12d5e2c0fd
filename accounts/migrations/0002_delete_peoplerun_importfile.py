from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.DeleteModel("PeopleRun"),
        migrations.DeleteModel("ImportFile"),
        migrations.RemoveField("peopleimport", "requested_from"),
    ]
