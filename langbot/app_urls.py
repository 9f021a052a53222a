"""All URLs of the apps, for any project: `path("ai/", include("langbot.app_urls"))`.

What links back to them is `LANGBOT["PUBLIC_URL"]`: the address with that prefix.
"""

from django.urls import include, path

from langbot import api, health, metrics, problems

app_name = "langbot"  # names such as `run-detail` are too common for a project
urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.MetricsView.as_view(), name="metrics"),
    path("problems/<str:code>", problems.explain_code, name="problem"),
    path("api/v1/", include(api.urls())),
    path("v1/", include("runners.openai.urls")),
    path("", include("platforms.urls")),
]
