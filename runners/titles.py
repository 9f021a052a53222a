"""What a conversation is called: its first words, until a person names it."""

from django.db import transaction

from langbot.core.audit import record_act
from runners.models import Conversation

__all__ = ["rename_conversation"]


def rename_conversation(conversation: Conversation, title: str, actor: str) -> bool:
    """Name a conversation; False when it was called so already.

    An empty title gives it the first words of its next message. When it last changed
    stays as it was: nothing was said. `actor` is the name in the audit log, which is
    written here.
    """
    before, after = {"title": conversation.title}, {"title": title}
    if before == after:
        return False
    with transaction.atomic():
        Conversation.objects.filter(pk=conversation.pk).update(**after)
        record_act(actor, "renamed", conversation, before=before, after=after)
    conversation.title = title
    return True
