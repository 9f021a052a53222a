"""Includable under any prefix."""

from django.urls import path

from platforms import views

urlpatterns = [
    path("webhooks/<slug:slug>/", views.receive_webhook, name="webhook-receive"),
    path("chat/<slug:slug>/", views.chat_page, name="chat-open"),
]
