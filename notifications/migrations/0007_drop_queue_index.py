from django.db import migrations


class Migration(migrations.Migration):
    """In a transaction of its own: making an index lets others read and lock, dropping one locks them out. Who sends
    meanwhile does one after the other, and both in one transaction would wait in a circle with it."""

    dependencies = [
        ('notifications', '0006_queues_in_order'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='delivery',
            name='delivery_queue',
        ),
    ]
