from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0013_successors'),
    ]

    operations = [
        migrations.AddField(
            model_name='incomingmessage',
            name='page',
            field=models.BinaryField(db_default=b'', default=b''),
        ),
        migrations.AddField(
            model_name='outgoingmail',
            name='page',
            field=models.BinaryField(db_default=b'', default=b''),
        ),
    ]
