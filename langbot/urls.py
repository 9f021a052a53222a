"""The standalone project's URLs."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import URLPattern, URLResolver, include, path, reverse_lazy
from django.utils.functional import lazy
from django.views.generic import RedirectView

from langbot import error_pages
from langbot.core.admin_accounts import change_own_password

handler400 = error_pages.bad_request
handler403 = error_pages.permission_denied
handler404 = error_pages.page_not_found
handler500 = error_pages.server_error

# Workers load the pages no earlier (`langbot.worker_settings`).
admin.autodiscover()

# Both addresses are known only once the settings are read.
_home = RedirectView.as_view(url=reverse_lazy("admin:index"))
_icon = RedirectView.as_view(url=lazy(static, str)("langbot_chat/icon.svg"))
_own_password = admin.site.admin_view(change_own_password, cacheable=True)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", _home, name="home"),
    path("favicon.ico", _icon, name="favicon"),
    path("admin/password_change/", _own_password),  # the site's own is not audited
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("langbot.app_urls")),
]
