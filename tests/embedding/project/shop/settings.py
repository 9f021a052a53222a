import os
from pathlib import Path

from langbot.lib.databases import database_from_url

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = os.environ["SHOP_KEY"]
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
ROOT_URLCONF = "shop.urls"
ASGI_APPLICATION = "shop.asgi.application"
AUTH_USER_MODEL = "shop.Customer"
STATIC_URL = "static/"
USE_TZ = True

INSTALLED_APPS = [
    "shop.apps.ShopConfig",
    "shop.apps.OfficeConfig",  # a site of our own in place of django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "langbot.core",
    "artifacts",
    "agents",
    "runners",
    "platforms",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# SQLite needs the options that `sqlite_database` gives it; PostgreSQL needs none.
DATABASES = {"default": database_from_url(os.environ["SHOP_DATABASE"])}

CELERY_BROKER_URL = os.environ["SHOP_BROKER"]
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": os.environ["SHOP_PREFIX"] + "celery:",
    # A sender does not wait for a broker that is away: the workers look every 2 s.
    "socket_connect_timeout": 0.3,
    "max_retries": 0,
}

# For the OpenAPI document of the agents' REST API; without it there is none.
REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}

LANGBOT = {
    "REDIS_URL": os.environ["SHOP_REDIS"],
    "REDIS_PREFIX": os.environ["SHOP_PREFIX"],
    "DATA_DIR": BASE_DIR / "data",
    "SECRET_KEYS": [os.environ["SHOP_FERNET_KEY"]],
    "PUBLIC_URL": os.environ["SHOP_URL"] + "/ai",
}
