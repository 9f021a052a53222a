"""The standalone project's URLs."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path, reverse_lazy
from django.utils.functional import lazy
from django.views.generic import RedirectView

from langbot import problems

handler400 = problems.bad_request
handler403 = problems.permission_denied
handler404 = problems.page_not_found
handler500 = problems.server_error

# Both addresses are known only once the settings are read.
_home = RedirectView.as_view(url=reverse_lazy("admin:index"))
_icon = RedirectView.as_view(url=lazy(static, str)("chat/icon.svg"))

urlpatterns = [
    path("", _home, name="home"),
    path("favicon.ico", _icon, name="favicon"),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("langbot.app_urls")),
]
