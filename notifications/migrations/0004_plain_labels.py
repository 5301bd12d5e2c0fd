"""Labels, help texts and choices in plain English. The database does not change."""

import django.core.validators
import django.db.models.deletion
import notifications.models.recipients
import notifications.models.subscriptions
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_plain_labels'),
        ('integrations', '0002_plain_labels'),
        ('notifications', '0003_receipt_reason_index'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='operatorcontacts',
            options={'default_permissions': ('view', 'change'), 'verbose_name': 'Failure notices', 'verbose_name_plural': 'Failure notices'},
        ),
        migrations.AlterModelOptions(
            name='ownrowsrule',
            options={'default_permissions': (), 'ordering': ['pk'], 'verbose_name': 'rule of own rows', 'verbose_name_plural': 'own rows: who sees which rows'},
        ),
        migrations.AlterField(
            model_name='alertcheck',
            name='outcome',
            field=models.CharField(choices=[('waiting', 'waiting'), ('firing', 'holds'), ('fine', 'does not hold'), ('no_data', 'no data'), ('late', 'arrived after a later check')], default='waiting', max_length=16, verbose_name='outcome'),
        ),
        migrations.AlterField(
            model_name='alertcheck',
            name='slot_at',
            field=models.DateTimeField(verbose_name='scheduled for'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='absent_checks',
            field=models.PositiveSmallIntegerField(default=0, help_text='0: never. If the data lists only problems, enter 1 or more: after this many checks without the value, its incident ends.', validators=[django.core.validators.MaxValueValidator(100)], verbose_name='end an incident if its value is missing for (checks)'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='departments',
            field=models.ManyToManyField(blank=True, help_text='The people in the department when a run begins, as of the last synchronisation of the directory.', related_name='+', to='integrations.department', verbose_name='departments of WeCom'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='free_days',
            field=models.CharField(choices=[('send', 'send anyway'), ('skip', 'skip: send only on working days'), ('next', 'send on the next working day')], default='send', help_text="According to China's calendar: weekends that make up for a holiday are working days.", max_length=8, verbose_name='on holidays and days off'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='gather_seconds',
            field=models.PositiveIntegerField(db_default=60, default=60, help_text='Alerts within this time after a message are sent as one message with a count and a list.', validators=[django.core.validators.MaxValueValidator(3600)], verbose_name='combine for (seconds)'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='hold_checks',
            field=models.PositiveSmallIntegerField(default=1, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100)], verbose_name='checks in a row before it fires'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='jitter_seconds',
            field=models.PositiveIntegerField(default=0, help_text='Each run begins up to this much later, so that not everything is sent at once. WeCom asks not to send exactly on the hour or the half hour.', validators=[django.core.validators.MaxValueValidator(3599)], verbose_name='random delay (seconds)'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='no_data_checks',
            field=models.PositiveSmallIntegerField(default=3, help_text='A check without data does not end an incident.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100)], verbose_name='notify of missing data after (checks)'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='notifies_on_workdays_only',
            field=models.BooleanField(default=False, verbose_name='notify on working days only'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='notifies_recovery',
            field=models.BooleanField(db_default=True, default=True, verbose_name='notify when it is over'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='notify_from',
            field=models.TimeField(blank=True, null=True, verbose_name='notify from'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='notify_until',
            field=models.TimeField(blank=True, null=True, verbose_name='notify until'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='problem',
            field=models.CharField(blank=True, editable=False, max_length=255, verbose_name='why there was no data'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='repeat_minutes',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='While the incident lasts and nobody has taken it. 0: no reminder.', validators=[django.core.validators.MaxValueValidator(10080)], verbose_name='remind every (minutes)'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='rules_match',
            field=models.CharField(choices=[('all', 'people who match all rules'), ('any', 'people who match any rule')], default='all', max_length=3, verbose_name='if there are several attribute rules'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='split_attribute',
            field=models.ForeignKey(blank=True, help_text='Of the chosen people, only those are notified whose attribute has the value of the column.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.attribute', verbose_name='notify only people with that value in'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='split_column',
            field=models.CharField(blank=True, help_text='Each value of it is watched separately and has its own incidents. Empty: all rows together.', max_length=128, verbose_name='split by column'),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='with_subdepartments',
            field=models.BooleanField(default=True, verbose_name='including their subdepartments'),
        ),
        migrations.AlterField(
            model_name='apitoken',
            name='allows_private_addresses',
            field=models.BooleanField(db_default=False, default=False, help_text='Only a superuser may tick this. It lets this server call addresses that the internet cannot reach.', verbose_name='webhooks may go into the internal network'),
        ),
        migrations.AlterField(
            model_name='apitoken',
            name='daily_limit',
            field=models.PositiveIntegerField(db_default=1000, default=1000, help_text='Counted per person: a message to five people counts as five.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000000)], verbose_name='messages per day at most'),
        ),
        migrations.AlterField(
            model_name='apitoken',
            name='may_alert',
            field=models.BooleanField(default=False, help_text='For example after a data update.', verbose_name='may trigger checks of alert rules'),
        ),
        migrations.AlterField(
            model_name='apitoken',
            name='may_send',
            field=models.BooleanField(db_default=False, default=False, help_text='For systems that send messages to people. Each request names the message and its recipients.', verbose_name='may send messages'),
        ),
        migrations.AlterField(
            model_name='apitoken',
            name='send_departments',
            field=models.ManyToManyField(blank=True, help_text='Including all their subdepartments.', related_name='+', to='integrations.department', verbose_name='departments of recipients'),
        ),
        migrations.AlterField(
            model_name='corpqueue',
            name='daily_budget',
            field=models.PositiveIntegerField(default=0, help_text='What WeCom lets this app send per day: 200 times the number of accounts that the company may have. A message to 1000 people counts as 1000. Further messages wait until midnight in China. 0: no limit.', verbose_name='daily budget (person-messages)'),
        ),
        migrations.AlterField(
            model_name='corpqueue',
            name='is_paused',
            field=models.BooleanField(default=False, help_text='Nothing is sent while it is paused. Waiting messages go out afterwards unless they have expired.', verbose_name='paused'),
        ),
        migrations.AlterField(
            model_name='inboundchannel',
            name='allows_private_addresses',
            field=models.BooleanField(default=False, help_text='For pictures and files that a payload names by address. Only superusers can switch this on.', verbose_name='may fetch pictures from the internal network'),
        ),
        migrations.AlterField(
            model_name='inboundchannel',
            name='daily_limit',
            field=models.PositiveIntegerField(default=10000, help_text='Counted per person: a message to five people counts as five.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000000)], verbose_name='messages per day at most'),
        ),
        migrations.AlterField(
            model_name='inboundchannel',
            name='form',
            field=models.CharField(blank=True, choices=[('text', 'text'), ('markdown', 'Markdown'), ('textcard', 'text card'), ('news', 'picture with text (news)'), ('image', 'picture alone'), ('text_notice', 'card with a large number'), ('news_notice', 'card with a picture'), ('file', 'file')], help_text='Empty: chosen according to the incoming message.', max_length=16, verbose_name='message form'),
        ),
        migrations.AlterField(
            model_name='inboundchannel',
            name='gather_seconds',
            field=models.PositiveIntegerField(db_default=60, default=60, help_text='Alerts within this time after a message are sent as one message with a count and a list.', validators=[django.core.validators.MaxValueValidator(3600)], verbose_name='combine for (seconds)'),
        ),
        migrations.AlterField(
            model_name='inboundchannel',
            name='is_alert',
            field=models.BooleanField(db_default=False, default=False, help_text='For Alertmanager, Grafana and Nightingale. Each alert opens an incident with one message card. People can take it, and the card changes when the alert ends. The texts below are then not used.', verbose_name='as an alert'),
        ),
        migrations.AlterField(
            model_name='inboundchannel',
            name='notifies_recovery',
            field=models.BooleanField(db_default=True, default=True, verbose_name='notify when it is over'),
        ),
        migrations.AlterField(
            model_name='inboundchannel',
            name='repeat_minutes',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='While the incident lasts and nobody has taken it. 0: no reminder.', validators=[django.core.validators.MaxValueValidator(10080)], verbose_name='remind every (minutes)'),
        ),
        migrations.AlterField(
            model_name='inboundchannel',
            name='scheme',
            field=models.CharField(default='bearer', max_length=32, verbose_name='verification'),
        ),
        migrations.AlterField(
            model_name='inboundchannel',
            name='with_subdepartments',
            field=models.BooleanField(default=True, verbose_name='including their subdepartments'),
        ),
        migrations.AlterField(
            model_name='incident',
            name='notified_at',
            field=models.DateTimeField(null=True, verbose_name='last notified'),
        ),
        migrations.AlterField(
            model_name='incidentevent',
            name='kind',
            field=models.CharField(choices=[('opened', 'opened'), ('reopened', 'began again'), ('notified', 'notified'), ('taken', 'taken'), ('silenced', 'silenced'), ('unsilenced', 'silence ended'), ('resolved', 'over'), ('closed', 'closed by hand'), ('refused', 'click refused'), ('late', 'clicked after the end')], max_length=16, verbose_name='what'),
        ),
        migrations.AlterField(
            model_name='incomingmessage',
            name='origin',
            field=models.CharField(choices=[('api', 'API'), ('mail', 'mail'), ('channel', 'inbound channel')], max_length=16, verbose_name='received by'),
        ),
        migrations.AlterField(
            model_name='operatorcontacts',
            name='emails',
            field=models.TextField(blank=True, help_text='One per line. EMAIL_URL in .env sets the mail server.', validators=[notifications.models.recipients.check_addresses], verbose_name='e-mail addresses'),
        ),
        migrations.AlterField(
            model_name='operatorcontacts',
            name='robot',
            field=models.ForeignKey(blank=True, help_text='The same notices go to its group, even without a mail server.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='notifications.robot', verbose_name='group robot'),
        ),
        migrations.AlterField(
            model_name='ownrowsrule',
            name='attribute',
            field=models.ForeignKey(blank=True, help_text="Each person sees the rows in which this column holds one of the person's values.", null=True, on_delete=django.db.models.deletion.PROTECT, related_name='own_rows_rules', to='accounts.attribute', verbose_name='user attribute'),
        ),
        migrations.AlterField(
            model_name='receipt',
            name='reason',
            field=models.CharField(blank=True, choices=[('no_company', 'WeCom company name is missing'), ('no_userid', 'WeCom account is missing'), ('no_account', 'not linked to WeCom'), ('bad_userid', 'the WeCom account has characters that WeCom does not allow'), ('corp_disabled', 'the company is disabled'), ('other_corp', 'the content is only for another company'), ('user_disabled', 'the person is disabled'), ('no_email', 'no e-mail address'), ('barred', 'deleted, disabled or out of scope in WeCom'), ('paused', 'the person has paused this push'), ('declined', 'the person does not want this push'), ('no_rows', 'the content has no rows for the person'), ('no_value', "an attribute that chooses the person's rows is empty"), ('no_message', "the person's message could not be made"), ('no_bi_identity', 'no BI account with whose rights the page could be shown')], max_length=16, verbose_name='reason'),
        ),
        migrations.AlterField(
            model_name='report',
            name='figures',
            field=models.TextField(blank=True, help_text='Also a template. Each line is a name, a colon and a number. Message cards show the first number large and up to six others below it.', verbose_name='key figures'),
        ),
        migrations.AlterField(
            model_name='report',
            name='is_template',
            field=models.BooleanField(default=False, help_text='Text in {{ }} is replaced when the message is sent, for example by figures from the data or by dates.', verbose_name='title and body are templates'),
        ),
        migrations.AlterField(
            model_name='report',
            name='picture_name',
            field=models.CharField(blank=True, default='', help_text='Shown above the picture, and used as the name of the file.', max_length=128, verbose_name='heading of the picture'),
        ),
        migrations.AlterField(
            model_name='report',
            name='picture_shown_as',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='shown with the rights of'),
        ),
        migrations.AlterField(
            model_name='report',
            name='skips_people_without_rows',
            field=models.BooleanField(default=True, help_text='With own rows: people who would see no rows get no message, and the log says why.', verbose_name='leave out people who see no rows'),
        ),
        migrations.AlterField(
            model_name='reportcard',
            name='title',
            field=models.CharField(blank=True, help_text="Shown above its table. Empty: the card's name.", max_length=128, verbose_name='heading'),
        ),
        migrations.AlterField(
            model_name='reportchart',
            name='aggregate',
            field=models.CharField(choices=[('sum', 'sum'), ('average', 'average'), ('maximum', 'maximum'), ('minimum', 'minimum'), ('count', 'number of rows')], default='sum', max_length=16, verbose_name='rows with the same value on the axis'),
        ),
        migrations.AlterField(
            model_name='reportchart',
            name='kind',
            field=models.CharField(choices=[('line', 'line'), ('area', 'area'), ('bar', 'bars'), ('stacked', 'stacked bars'), ('pie', 'pie'), ('donut', 'donut'), ('table', 'picture of a table'), ('number', 'one large number')], default='line', max_length=16, verbose_name='kind'),
        ),
        migrations.AlterField(
            model_name='reportchart',
            name='series',
            field=models.CharField(blank=True, help_text='Each of its values gets its own line or colour. Beyond six, the others are combined.', max_length=128, verbose_name='grouping column'),
        ),
        migrations.AlterField(
            model_name='reportchart',
            name='sort',
            field=models.CharField(choices=[('as_is', 'as in the data'), ('largest', 'the largest first'), ('smallest', 'the smallest first'), ('name', 'by name')], default='as_is', max_length=16, verbose_name='order'),
        ),
        migrations.AlterField(
            model_name='reportchart',
            name='top',
            field=models.PositiveSmallIntegerField(default=10, help_text='The largest number of bars, parts or rows. The rest is combined as “others”.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(20)], verbose_name='at most'),
        ),
        migrations.AlterField(
            model_name='reportchart',
            name='unit',
            field=models.CharField(blank=True, help_text="Empty: the column's own unit.", max_length=16, verbose_name='unit'),
        ),
        migrations.AlterField(
            model_name='reportchart',
            name='x',
            field=models.CharField(blank=True, help_text='Dates run from left to right. Names become horizontal bars, or the parts of a pie.', max_length=128, verbose_name='column for the axis'),
        ),
        migrations.AlterField(
            model_name='reportchart',
            name='y',
            field=models.TextField(blank=True, help_text='One per line. Several become lines, or columns of a table.', verbose_name='columns of values'),
        ),
        migrations.AlterField(
            model_name='robot',
            name='name',
            field=models.CharField(help_text="The group's usual name, for example 销售日报群.", max_length=128, verbose_name='name'),
        ),
        migrations.AlterField(
            model_name='run',
            name='resends',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='notifications.run', verbose_name='resend of'),
        ),
        migrations.AlterField(
            model_name='run',
            name='slot_count',
            field=models.PositiveIntegerField(default=1, verbose_name='scheduled times'),
        ),
        migrations.AlterField(
            model_name='run',
            name='tried_on',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='trial sent to'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='departments',
            field=models.ManyToManyField(blank=True, help_text='The people in the department when a run begins, as of the last synchronisation of the directory.', related_name='+', to='integrations.department', verbose_name='departments of WeCom'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='free_days',
            field=models.CharField(choices=[('send', 'send anyway'), ('skip', 'skip: send only on working days'), ('next', 'send on the next working day')], default='send', help_text="According to China's calendar: weekends that make up for a holiday are working days.", max_length=8, verbose_name='on holidays and days off'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='grace_minutes',
            field=models.PositiveIntegerField(default=60, help_text='If a time is missed by no more than this, one run makes up for it; an older one is recorded as missed, and the owner is notified. A due run waits at most this long for the run before it.', validators=[django.core.validators.MaxValueValidator(1440)], verbose_name='grace period (minutes)'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='is_paused',
            field=models.BooleanField(default=False, help_text='Messages are still made, but they wait and go out when the push is resumed, unless they have expired. Scheduled times that come while a run waits are missed.', verbose_name='paused'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='jitter_seconds',
            field=models.PositiveIntegerField(default=0, help_text='Each run begins up to this much later, so that not everything is sent at once. WeCom asks not to send exactly on the hour or the half hour.', validators=[django.core.validators.MaxValueValidator(3599)], verbose_name='random delay (seconds)'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='pauses_after_failures',
            field=models.PositiveSmallIntegerField(db_default=5, default=5, help_text='After this many runs in a row that reached nobody, the push is disabled and its owner is notified. Runs that wait for a company do not count. 0: never.', validators=[django.core.validators.MaxValueValidator(100)], verbose_name='pause after failed runs in a row'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='rules_match',
            field=models.CharField(choices=[('all', 'people who match all rules'), ('any', 'people who match any rule')], default='all', max_length=3, verbose_name='if there are several attribute rules'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='skips_empty',
            field=models.BooleanField(default=False, verbose_name='do not send if the data is empty'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='skips_unchanged',
            field=models.BooleanField(default=False, verbose_name='do not send if the data is as in the last message'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='stale_after_minutes',
            field=models.PositiveIntegerField(blank=True, help_text='The age of the data when the push is due, as the source states it. Empty: data is never stale.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(527040)], verbose_name='data counts as stale after (minutes)'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='with_subdepartments',
            field=models.BooleanField(default=True, verbose_name='including their subdepartments'),
        ),
        migrations.AlterField(
            model_name='workdaycalendar',
            name='days',
            field=models.TextField(blank=True, help_text='They override the calendar of this version. Write one line for each day or period: the date, off or work, and a name, for example “2027-02-05 to 2027-02-11 off Spring Festival” or “2027-02-14 work”. You can paste several lines at once.', validators=[notifications.models.subscriptions.read_days], verbose_name='holidays and make-up days'),
        ),
    ]

    def apply(self, project_state, schema_editor, collect_sql=False):
        """Change the state alone. With rendered models Django would render them anew for each label."""
        project_state.__dict__.pop('apps', None)
        return self.mutate_state(project_state, preserve=False)
