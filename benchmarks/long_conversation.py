"""Fills a conversation; called inside a process that uses the host's database."""

from benchmarks.measuring_runner import NEEDLE

_NEEDLES = 10  # rows that have the word, at every size
_ROWS_AT_ONCE = 2000


def fill(conversation: str, size: int) -> int:
    """Grow a conversation to `size` messages; called inside the host's database."""
    from runners.models import Conversation, TranscriptItem

    row = Conversation.objects.get(public_id=conversation)
    first = TranscriptItem.objects.filter(conversation=row).count() + 1
    numbers = range(first, size + 1)
    for start in range(0, len(numbers), _ROWS_AT_ONCE):
        TranscriptItem.objects.bulk_create(
            TranscriptItem(
                conversation=row,
                seq=number,
                role="user",
                text=_text(number, size),
                content=[{"type": "text", "text": _text(number, size)}],
            )
            for number in numbers[start : start + _ROWS_AT_ONCE]
        )
    Conversation.objects.filter(pk=row.pk).update(transcript_seq=size)
    return size


def _text(number: int, size: int) -> str:
    word = NEEDLE if number % (size // _NEEDLES) == 0 else "hay"
    return f"message number {number} about the weather has {word}"
