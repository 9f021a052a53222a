"""Django settings of the standalone project. Declarative; `langbot.env` reads."""

from pathlib import Path

from django.templatetags.static import static
from django.utils.translation import gettext_lazy as _

from langbot.admin_navigation import NAVIGATION
from langbot.env import kept_address, kept_secret, read_environment, words
from langbot.lib.databases import database_from_url, sqlite_database
from langbot.lib.logging import logging_config
from langbot.openapi import DOCUMENT

ENV = read_environment()
BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = ENV.data_dir
# The supervisor leaves the addresses of its web and its Valkey here, so that commands
# run beside it (sendmessage, createapitoken) find the same servers.
PUBLIC_URL = ENV.langbot_public_url or kept_address(
    DATA_DIR / "run" / "web.url", f"http://{ENV.host}:{ENV.port}"
)
REDIS_URL = ENV.redis_url or kept_address(
    DATA_DIR / "run" / "redis.url", "redis://127.0.0.1:6379/0"
)

SECRET_KEY = ENV.secret_key or kept_secret(DATA_DIR / "django.key", "django")
SECRET_KEYS_FILE = DATA_DIR / "secret.key"
if not ENV.langbot_secret_keys:
    kept_secret(SECRET_KEYS_FILE, "fernet")
DEBUG = ENV.debug
ALLOWED_HOSTS = words(ENV.allowed_hosts)
CSRF_TRUSTED_ORIGINS = words(ENV.csrf_trusted_origins)

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_structlog",
    "langbot.core",
    "artifacts",
    "agents",
    "runners",
    "platforms",
]

MIDDLEWARE = [
    "langbot.metrics.MetricsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "langbot.middleware.RequestContextMiddleware",
]

ROOT_URLCONF = "langbot.urls"
ASGI_APPLICATION = "langbot.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # The second has the theme's own pages where they are not good enough: other
        # projects keep theirs.
        "DIRS": [BASE_DIR / "templates", BASE_DIR / "langbot" / "theme"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": database_from_url(ENV.database_url)
    if ENV.database_url
    else sqlite_database(DATA_DIR / "langbot.sqlite3")
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "langbot:cache",
        "OPTIONS": {
            "SOCKET_CONNECT_TIMEOUT": 0.3,
            "SOCKET_TIMEOUT": 0.3,
            # Throttles and presence fail open (C-45); money never reads the cache.
            "IGNORE_EXCEPTIONS": True,
        },
    }
}
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = True

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
CSRF_FAILURE_VIEW = "langbot.error_pages.form_refused"
LOGIN_URL = "admin:login"
# The theme's login form does not say where to go on; its own address means the index.
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = ENV.language_code
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "langbot" / "locale"]
FORMAT_MODULE_PATH = ["langbot.formats"]
TIME_ZONE = ENV.time_zone
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns when it is missing
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
MEDIA_ROOT = DATA_DIR / "artifacts"

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = ENV.langbot_https
SECURE_HSTS_SECONDS = 31_536_000 if ENV.langbot_https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = ENV.langbot_https
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if ENV.langbot_https else None
)
# The largest JSON body REST takes; uploads stream to files (413 above it).
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "langbot.core.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "langbot.api.CursorPage",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "langbot.problems.problem_handler",
    "DEFAULT_THROTTLE_RATES": {
        "messages": ENV.langbot_rate_messages,
        "writes": ENV.langbot_rate_writes,
    },
}
SPECTACULAR_SETTINGS = {
    **DOCUMENT,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # A link inside the button of an operation is out of reach for screen readers.
    "SWAGGER_UI_SETTINGS": {"deepLinking": False},
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {"QueuedStatusEnum": "runners.choices.QueuedStatus"},
}

UNFOLD = {
    "SITE_TITLE": _("Agent host"),
    "SITE_HEADER": _("Agent host"),
    "SITE_URL": None,  # there is no site beside the admin that a link could lead to
    "SHOW_LANGUAGES": True,
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": NAVIGATION,
    },
    "COMMAND": {"search_callback": "langbot.admin_search.search_records"},
    "STYLES": [lambda _request: static("langbot_admin/theme.css")],
    "SCRIPTS": [lambda _request: static("langbot_admin/theme.js")],
    # The theme's own is too dark for links on a dark page (WCAG 2 AA: 4.5 to 1).
    "COLORS": {"primary": {"500": "oklch(66% .24 304)"}},
}

EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend"
    if ENV.email_host
    else "django.core.mail.backends.dummy.EmailBackend"
)
EMAIL_HOST, EMAIL_PORT = ENV.email_host, ENV.email_port
EMAIL_HOST_USER = ENV.email_host_user
EMAIL_HOST_PASSWORD = ENV.email_host_password
# One of the two: a server that speaks TLS at once knows no STARTTLS.
EMAIL_USE_SSL = ENV.email_use_ssl
EMAIL_USE_TLS = ENV.email_use_tls and not ENV.email_use_ssl
EMAIL_TIMEOUT = 10
if ENV.default_from_email:
    DEFAULT_FROM_EMAIL = ENV.default_from_email

LANGBOT = {
    "CELERY_APP": "langbot.celery.app",
    "REDIS_URL": REDIS_URL,
    "DATA_DIR": DATA_DIR,
    "SECRET_KEYS": words(ENV.langbot_secret_keys),
    "SECRET_KEYS_FILE": SECRET_KEYS_FILE,
    "OUTBOUND_ALLOW": words(ENV.langbot_outbound_allow),
    "PUBLIC_URL": PUBLIC_URL,
    "METRICS_ALLOW": words(ENV.langbot_metrics_allow),
    "AUDIT_DAYS": ENV.langbot_audit_days,
    "FIRST_MODEL": {
        "base_url": ENV.openai_base_url,
        "api_key": ENV.openai_api_key,
        "model": ENV.openai_model,
    },
}

LOGGING = logging_config(
    level=ENV.log_level, json=ENV.log_json, directory=DATA_DIR / "logs"
)
