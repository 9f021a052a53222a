"""`/v1/`, as OpenAI's clients expect it under their `base_url`."""

from django.urls import path

from runners.openai import views

urlpatterns = [
    path("models", views.ModelsView.as_view(), name="openai-models"),
    path("models/<str:slug>", views.ModelView.as_view(), name="openai-model"),
    path("chat/completions", views.ChatView.as_view(), name="openai-chat"),
    path("responses", views.ResponsesView.as_view(), name="openai-responses"),
    path("<path:rest>", views.UnknownView.as_view(), name="openai-unknown"),
]
