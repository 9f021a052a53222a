"""Includable under any prefix."""

from django.urls import path

from platforms import views
from platforms.chat.views import chat_action, chat_file
from platforms.links.views import decide_by_link

urlpatterns = [
    path("webhooks/<slug:slug>/", views.receive_webhook, name="webhook-receive"),
    path("actions/<str:token>/", decide_by_link, name="action-link"),
    path("chat/<slug:slug>/", views.chat_page, name="chat-open"),
    path(
        "chat/<slug:slug>/actions/<uuid:id>/",
        chat_action,
        name="chat-action",
    ),
    path("chat/<slug:slug>/files/<str:address>/", chat_file, name="chat-file"),
]
