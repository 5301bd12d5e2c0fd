"""Settings of guanwecom: one module, read from the environment (.env.example lists every variable)."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _
from kombu import Queue

from guanwecom import environment as e
from guanwecom import version
from guanwecom.operations import logs

BASE_DIR = Path(__file__).resolve().parent.parent
if os.environ.get("ENVIRONMENT") not in {"demo", "test"}:  # demo and tests must not use a developer's .env
    e.read_dotenv(BASE_DIR / ".env")

# --- Deployment ------------------------------------------------------------------------------------------------------
# production: refuses the sandbox as WeCom. demo, test: run on one machine.
ENVIRONMENT = e.read(e.one_of("production", "demo", "test"), "ENVIRONMENT", "production")
# The name of this deployment. A database from a deployment of another name is a copy, from which nothing is sent.
INSTALLATION_NAME = e.read(e.optional(e.short_name), "INSTALLATION_NAME", "") or ""
VERSION = version.VERSION
SECRET_KEY = e.read(e.secret_text, "SECRET_KEY")
# Keys for secrets at rest, newest first: the first one encrypts, all decrypt. `manage.py generate_key` makes one.
FIELD_ENCRYPTION_KEYS = e.read(e.fernet_keys, "FIELD_ENCRYPTION_KEYS")
# Host names admitted besides the saved site addresses (health checks, internal names).
EXTRA_ALLOWED_HOSTS = e.read(e.list_of(e.host), "ALLOWED_HOSTS", "")
# Networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted.
TRUSTED_PROXIES = e.read(e.list_of(e.network), "TRUSTED_PROXIES", "")

# integrations.views redirects to https and sets HSTS if the saved site address is https.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]
# integrations.views checks the host against the site addresses in the database.
ALLOWED_HOSTS = ["*"]

# --- Application -----------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "guanwecom.apps.GuanwecomConfig",
    "guanwecom.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "axes",
    "csp",
    "notifications",
    "accounts",
    "integrations",
]
MIDDLEWARE = [
    "guanwecom.operations.middleware.AccessMiddleware",
    "integrations.core.http.ContentPolicyMiddleware",
    "integrations.views.SiteAddressMiddleware",
    "notifications.api.problems.ApiMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "accounts.authentication.sessions.SessionBindingMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.authentication.sessions.SessionCheckMiddleware",
    "accounts.audit.services.AuditMiddleware",
    "guanwecom.operations.middleware.CopyMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "accounts.views.confirmation.ConfirmationMiddleware",
]
ROOT_URLCONF = "guanwecom.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["accounts.templatetags.pages"],
        },
    },
]

# --- Database, cache, broker -----------------------------------------------------------------------------------------
_database = e.read(e.database, "DATABASE_URL")
# PostgreSQL's own address if DATABASE_URL is that of a connection pooler. For commands that need a session of their
# own.
_direct = e.read(e.optional(e.database), "DATABASE_DIRECT_URL", "")
_needs_direct = {*sys.argv[1:2]} & {"backup", "restore", "upgrade"}
DATABASES = {"default": _direct if _direct and _needs_direct else _database}
VALKEY_URL = e.read(e.check_valkey_address, "VALKEY_URL")
# Path of a PEM file with certificates that rediss addresses trust besides the system's.
VALKEY_CA_BUNDLE = e.read(e.certificates, "VALKEY_CA_BUNDLE", "")
# VALKEY_SENTINEL_PASSWORD: the password of the Sentinels, if they need one.
_valkey = e.build_valkey_settings(VALKEY_URL, VALKEY_CA_BUNDLE, e.read(str, "VALKEY_SENTINEL_PASSWORD", ""))
VALKEY_OPTIONS = _valkey.redis_options
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": [VALKEY_URL],  # Django would split a bare address at commas and semicolons
        "OPTIONS": {"pool_class": "integrations.core.redis.ConnectionPools", **VALKEY_OPTIONS},
    }
}

# Celery's settings that depend on the environment. The others are in guanwecom.celery.
CELERY_BROKER_URL = _valkey.broker_url
# By default, Celery accepts any certificate.
CELERY_BROKER_USE_SSL = _valkey.tls_options or False
# visibility_timeout: a killed worker's tasks return after it, checked every 5 s. It must exceed the longest task.
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
    "visibility_timeout": 300,
    "unacked_restore_throttle": 1,
    "unacked_restore_interval": 5,
    "queue_order_strategy": "priority",
    **_valkey.broker_options,
}
# A worker takes from the first queue that is not empty, so ticks and alerts do not wait behind reports. In production
# one worker serves only "urgent" (docs/en/install.md), so that it is free while all others are busy, and others only
# "data", whose tasks wait for other systems.
CELERY_TASK_QUEUES = [Queue("urgent"), Queue("celery"), Queue("data")]

# --- People ----------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "accounts.authentication.passwords.PasswordGate",
    "accounts.authentication.backends.WeComBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"

# --- Wrong passwords (docs/en/administration.md) ---------------------------------------------------------------------
# After this many wrong passwords for one username from one address, that address is locked out for that username …
LOCKOUT_TRIES = e.read(e.whole(1, 49), "LOCKOUT_TRIES", "5")
# … for this many minutes after the last one.
LOCKOUT_MINUTES = e.read(e.minutes, "LOCKOUT_MINUTES", "15")
AXES_HANDLER = "accounts.authentication.passwords.LockoutHandler"
AXES_LOCKOUT_CALLABLE = "accounts.views.login.show_lock"
AXES_CLIENT_IP_CALLABLE = "accounts.authentication.flow.find_network"
# LockoutHandler does not count or record attempts during a lockout.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_ENABLE_ADMIN = AXES_VERBOSE = False
# Retention of the audit trail, in days.
AUDIT_RETENTION_DAYS = e.read(e.days, "AUDIT_RETENTION_DAYS", "1095")
# Syslog server that also gets each entry: tcp://host:port or udp://host:port; unset: none.
AUDIT_SYSLOG = e.read(e.optional(e.syslog_server), "AUDIT_SYSLOG", "")

# --- Sessions, cookies, headers (Secure and HSTS follow the site address's scheme: integrations.views) -----------
SESSION_ENGINE = "accounts.authentication.sessions"
# Limits of administrators' sessions: hours after the sign-in, …
STAFF_SESSION_HOURS = e.read(e.hours, "STAFF_SESSION_HOURS", "12")
# … and minutes without use.
STAFF_SESSION_IDLE_MINUTES = e.read(e.minutes, "STAFF_SESSION_IDLE_MINUTES", "60")
# Minutes after confirming their identity in which people may change rights, secrets, addresses and API tokens.
CONFIRMATION_MINUTES = e.read(e.minutes, "CONFIRMATION_MINUTES", "15")
# Whether all administrators must set up an authenticator app and give its code at sign-in. If false, only
# administrators with an app are asked for a code.
STAFF_TOTP_REQUIRED = e.read(e.boolean, "STAFF_TOTP_REQUIRED", "false")
# Whether session and CSRF cookies have the prefix __Host-, so that no sibling domain can plant them. Browsers accept
# such cookies over https only, so all site addresses must be https (a system check).
HOST_COOKIES = e.read(e.boolean, "HOST_COOKIES", "false")
SESSION_COOKIE_NAME = "__Host-sessionid" if HOST_COOKIES else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if HOST_COOKIES else "csrftoken"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HOST_COOKIES
CSRF_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
# No other hosts, no inline code, no eval. integrations.core.http adds the hosts of sign-ins to form-action, and lets
# the login page frame the QR panel.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}
# Address of a collector to which browsers report violations; unset: none.
if _collector := e.read(e.report_address, "CSP_REPORT_URI", ""):
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["report-uri"] = [_collector]

# --- Languages and time ----------------------------------------------------------------------------------------------
LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", _("Simplified Chinese")), ("en", _("English"))]
FORMAT_MODULE_PATH = "guanwecom.formats"
# Time zone of the pages, of subscriptions without their own, and the default of new subscriptions.
TIME_ZONE = e.read(e.time_zone, "TIME_ZONE", "Asia/Shanghai")

# --- Static files ----------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
# Folder of `manage.py collectstatic`, which the web processes serve.
STATIC_ROOT = e.read(e.folder(BASE_DIR / "staticfiles"), "STATIC_ROOT", "")
WHITENOISE_ALLOW_ALL_ORIGINS = False
# Outside production, static files are served from the source without collecting them.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = ENVIRONMENT != "production"
_collected = "whitenoise.storage.CompressedManifestStaticFilesStorage"
_source = "django.contrib.staticfiles.storage.StaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": _collected if ENVIRONMENT == "production" else _source},
}

# --- WeCom -----------------------------------------------------------------------------------------------------------
# Time limit of a whole call to WeCom, in seconds.
WECOM_TOTAL_TIMEOUT_SECONDS = e.read(e.whole(5, 29), "WECOM_TOTAL_TIMEOUT_SECONDS", "20")
# Requests of sign-ins with WeCom (start, callback, QR panel) from one address within a minute. A sign-in makes two or
# three. The limit is generous, since a whole company behind one address may sign in at the same time.
SIGN_INS_PER_ADDRESS = e.read(e.count, "SIGN_INS_PER_ADDRESS", "1200")
# Sign-in codes of one company redeemed within a minute, from all addresses. WeCom's own limit, 10,000 calls a minute
# from a company for each API, does not count valid codes.
SIGN_INS_PER_COMPANY = 12_000

# --- Directory -------------------------------------------------------------------------------------------------------
# Percentage of people that a sync may disable without asking. Unless it is 0, also up to 20, at most half of all.
DIRECTORY_GUARD_PERCENT = e.read(e.percent, "DIRECTORY_GUARD_PERCENT", "5")

# --- Data of reports and alerts (docs/en/data-sources.md) ------------------------------------------------------------
# Retention of fetched data, in days.
CARD_DATA_RETENTION_DAYS = e.read(e.days, "CARD_DATA_RETENTION_DAYS", "8")
# Further kinds of databases by SQLAlchemy's names, such as oracle+oracledb. Operators install their drivers.
DATA_SQL_DRIVERS = e.read(e.words, "DATA_SQL_DRIVERS", "")
# Whether data sources with access to the internal network may also use this machine, for installations on one machine.
DATA_ALLOW_LOOPBACK = e.read(e.boolean, "DATA_ALLOW_LOOPBACK", "false")

# --- Push engine -----------------------------------------------------------------------------------------------------
# Seconds between beat's checks for due work (guanwecom.operations.beat).
DISPATCH_INTERVAL_SECONDS = 2
# Beat writes these rows when it starts; disabled ones stay disabled. A tick that no worker takes expires after a day. A
# shorter limit would be unsafe, since beat's and workers' hosts may have different clocks.
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    **{
        name: {"task": name, "schedule": seconds, "options": {"expire_seconds": 24 * 60 * 60}}
        for name, seconds in (
            ("notifications.tick", DISPATCH_INTERVAL_SECONDS),
            ("integrations.tick", 10),
            ("accounts.directory_tick", 60),
        )
    },
    "accounts.purge_audit": {"task": "accounts.purge_audit", "schedule": timedelta(days=1)},
    "notifications.notify_of_owners": {"task": "notifications.notify_of_owners", "schedule": timedelta(hours=1)},
}
# Bearer token of monitors for /metrics and /healthz/engine, at least 32 characters; unset: these pages do not exist.
METRICS_TOKEN = e.read(e.optional(e.secret_text), "METRICS_TOKEN", "") or ""
# Calls of the HTTP API within a minute with one token.
API_CALLS_PER_TOKEN = e.read(e.count, "API_CALLS_PER_TOKEN", "120")
# Retention of runs, deliveries and receipts, in days.
LOG_RETENTION_DAYS = e.read(e.days, "LOG_RETENTION_DAYS", "365")
# Parallel calls of one sending task. A worker runs one task in each thread.
SEND_PARALLEL_PER_TASK = e.read(e.whole(1, 1000), "SEND_PARALLEL_PER_TASK", "50")

# --- Pictures of the BI's pages, by workers with -Q snapshots (docs/en/page-pictures.md) -----------------------------
# Hosts besides the BI's own from which its pages load, separated by commas; host:port for a port other than 80 and 443.
# The browser reaches no others.
SNAPSHOT_HOSTS = e.read(e.list_of(e.host), "SNAPSHOT_HOSTS", "")
# CSS selectors in the BI's pages: of cards, and of what only a complete, a busy or a failed page has.
SNAPSHOT_SELECTORS = {sign: e.read(str, f"SNAPSHOT_{sign}_SELECTOR", "") for sign in ("CARD", "READY", "BUSY", "ERROR")}

# --- Messages to operators when pushes are delayed or stopped ----------------------------------------------------
# smtp://user:password@host:25, smtp+tls://…:587 or smtp+ssl://…:465. Unset: nothing is mailed.
vars().update(e.read(e.email, "EMAIL_URL", ""))  # EMAIL_BACKEND, EMAIL_HOST …
DEFAULT_FROM_EMAIL = e.read(e.mail_address, "EMAIL_FROM", "guanwecom@localhost")
# Recipients, separated by commas.
OPERATOR_EMAILS = e.read(e.list_of(e.mail_address), "OPERATOR_EMAILS", "")
# Webhook address of a group robot that gets the same messages, at WeCom and without a proxy.
OPERATOR_ROBOT = e.read(e.optional(e.parse_robot_webhook), "OPERATOR_ROBOT_URL", "")

# --- Mail door: accepts other systems' mails by SMTP and turns them into messages (docs/en/mail-door.md) -------------
# Address on which `manage.py mail_door` listens.
MAIL_DOOR_LISTEN = e.read(e.listen_address, "MAIL_DOOR_LISTEN", "127.0.0.1:2525")
# Domains of addresses whose local part names an account, as in loginId@wecom.local. Separated by commas.
MAIL_DOOR_DOMAINS = e.read(e.mail_domains, "MAIL_DOOR_DOMAINS", "wecom.local")
# Networks that may connect; empty: none. The default is all private networks.
MAIL_DOOR_NETWORKS = e.read(
    e.list_of(e.network),
    "MAIL_DOOR_NETWORKS",
    "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,169.254.0.0/16,::1/128,fc00::/7,fe80::/10",
)
# Paths of PEM files with the certificate and its chain, and with the key. Web reads the certificate to warn of its end.
MAIL_DOOR_CERTIFICATE = e.read(str, "MAIL_DOOR_CERTIFICATE", "")
MAIL_DOOR_KEY = e.read(str, "MAIL_DOOR_KEY", "")
# Whether connections begin with TLS (as on port 465) instead of STARTTLS.
MAIL_DOOR_TLS_FROM_START = e.read(e.boolean, "MAIL_DOOR_TLS_FROM_START", "false")
# Whether other machines may send passwords without TLS. This machine always may.
MAIL_DOOR_PLAIN_SIGN_IN = e.read(e.boolean, "MAIL_DOOR_PLAIN_SIGN_IN", "false")

# --- Limits of WeCom, kept by all workers together before they call (docs/en/push-engine.md); 0: no limit -------------
# Calls of message/send in any 60 seconds: from one egress address for all companies …
LIMIT_ADDRESS_PER_MINUTE = e.read(e.limit, "LIMIT_ADDRESS_PER_MINUTE", "20000")
# … and for one company (CorpId).
LIMIT_COMPANY_PER_MINUTE = e.read(e.limit, "LIMIT_COMPANY_PER_MINUTE", "10000")
# Calls in any hour.
LIMIT_ADDRESS_PER_HOUR = e.read(e.limit, "LIMIT_ADDRESS_PER_HOUR", "600000")
LIMIT_COMPANY_PER_HOUR = e.read(e.limit, "LIMIT_COMPANY_PER_HOUR", "150000")
# Parallel calls for one company. Above an unpublished number of them, WeCom answers 45033.
LIMIT_COMPANY_PARALLEL = e.read(e.limit, "LIMIT_COMPANY_PARALLEL", "300")
# Messages of one app to one member in any minute; WeCom silently drops the surplus.
LIMIT_MEMBER_PER_MINUTE = e.read(e.limit, "LIMIT_MEMBER_PER_MINUTE", "30")
# Mails in any minute.
LIMIT_MAIL_PER_MINUTE = e.read(e.limit, "LIMIT_MAIL_PER_MINUTE", "0")
# Name of this process's public address, for limits per address. Processes with another one need another name.
EGRESS_NAME = e.read(e.short_name, "EGRESS_NAME", "default")

# --- Logging ---------------------------------------------------------------------------------------------------------
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": logs.ConsoleFormatter if ENVIRONMENT == "demo" else logs.JsonFormatter}},
    "filters": {"outages": {"()": logs.OutageFilter}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["outages"]}},
    "root": {"handlers": ["console"], "level": e.read(e.one_of("DEBUG", "INFO", "WARNING"), "LOG_LEVEL", "INFO")},
    "loggers": {
        **{name: {"level": level} for name, level in logs.LEVELS.items()},
        # Replace the handler that gunicorn gives its logger.
        "gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True},
    },
}
# Sends errors to Sentry by Sentry's integrations of Django and Celery (`pip install sentry-sdk`). Unset: sends nothing.
if _dsn := e.read(e.check_sentry_dsn, "SENTRY_DSN", ""):
    import sentry_sdk

    sentry_sdk.init(
        dsn=_dsn,
        environment=ENVIRONMENT,
        release=VERSION,
        # Leave out what may be secret or personal: addresses of requests contain sign-in codes, breadcrumbs contain
        # WeCom's tokens, bodies and variables contain personal data.
        before_send=lambda event, _hint: {**event, "request": {}},
        max_breadcrumbs=0,
        max_request_body_size="never",
        include_local_variables=False,
        auto_session_tracking=False,
    )

# --- Health of a process, checked from outside (compose.yaml) --------------------------------------------------------
# A file that web, workers and beat touch every few seconds while they work; unset: none.
HEARTBEAT_FILE = e.read(str, "HEARTBEAT_FILE", "")

e.refuse_unknown()
