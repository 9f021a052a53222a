"""The standalone project's URLs."""

from django.contrib import admin
from django.urls import include, path

from langbot import api, health, problems

handler400 = problems.bad_request
handler403 = problems.permission_denied
handler404 = problems.page_not_found
handler500 = problems.server_error

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("problems/<slug:code>", problems.explain_code, name="problem"),
    path("admin/", admin.site.urls),
    path("api/v1/", include(api.urls())),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("platforms.urls")),
]
