"""The words by which a transcript is found: what is indexed, and what is asked.

Neither FTS5 nor tsvector finds a Chinese word of two characters, because both take a
sentence without spaces for one word. So one column is written by us, and both index
it: words as they are, and every pair of neighbours where a script has no spaces.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import models

from langbot.lib.conf import limits

if TYPE_CHECKING:
    _Text = models.TextField[str, str]
else:
    _Text = models.TextField  # it is generic for type checkers only

_CJK = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uac00-\ud7af\U00020000-\U0003ffff"
)
_PARTS = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_IS_CJK = re.compile(rf"[{_CJK}]")
_BLANKED = "".join(sign if sign.isalnum() else " " for sign in map(chr, range(128)))
_WORD_LENGTH = 64  # longer ones are found by how they begin
_TERMS = 32  # of one question
_RUN_WORDS = 64  # of one of them: PostgreSQL recurses into each, down to its limit
_BEGINNING = 4  # characters; shorter ones begin too much
_PLACE = "inconversation{}"


@dataclass(frozen=True, slots=True)
class Term:
    """Words that must follow each other."""

    words: tuple[str, ...]

    @property
    def may_go_on(self) -> bool:
        """Whether longer words that begin with it are worth looking for."""
        (first, *more) = self.words
        return not more and len(first) >= _BEGINNING and not _IS_CJK.match(first)


def place_word(conversation_id: int) -> str:
    """Return the word that every item of a conversation has.

    It bounds a search inside the index: other conversations cost nothing.
    """
    return _PLACE.format(conversation_id)


def words_of(text: str) -> list[str]:
    """Return the words of a text in order, then its characters of scripts in pairs."""
    parts = _parts(text)
    if text.isascii() or not any(map(_IS_CJK.match, parts)):
        return [part[:_WORD_LENGTH] for part in parts]
    characters = dict.fromkeys("".join(filter(_IS_CJK.match, parts)))
    return [*(word for part in parts for word in _split(part)), *characters]


def terms_of(question: str) -> list[Term]:
    """Return what a text must have to be an answer; nothing when it has no words.

    Of a longer run of characters without spaces its first 65 are looked for.
    """
    words = (_split(part)[:_RUN_WORDS] or [part] for part in _parts(question)[:_TERMS])
    return [Term(tuple(one)) for one in words]


def joined(words: Iterable[str]) -> str:
    """Return the column's value: a blank at both ends of every word."""
    return f" {' '.join(words)} "


def _parts(text: str) -> list[str]:
    if text.isascii():  # the same by other means, in a tenth of the time
        return text.lower().translate(_BLANKED).split()
    return _PARTS.findall(unicodedata.normalize("NFKC", text).casefold())


def _split(part: str) -> list[str]:
    if _IS_CJK.match(part):
        return [part[start : start + 2] for start in range(len(part) - 1)]
    return [part[:_WORD_LENGTH]]


class WordsField(_Text):
    """Fills itself from the row's `text` whenever a row is inserted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"default": "", "editable": False, **kwargs})

    def pre_save(self, model_instance: models.Model, add: bool) -> str:  # noqa: FBT001 - Django's signature
        row: Any = model_instance
        text = row.text[: limits().transcript_characters]
        words = [place_word(row.conversation_id), *words_of(text)]
        value = joined(words)
        setattr(row, self.attname, value)
        return value

    def deconstruct(self) -> Any:
        """Be a plain column to migrations, which must outlive this module."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.TextField", args, kwargs
