"""Questions to people, as forms that the host shows (`wire.md` §6.1)."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

REQUESTED: Final = "interaction.requested"
SUBMITTED: Final = "interaction.submitted"
"""The type of the event that carries an answer."""

FieldType = Literal[
    "text", "textarea", "select", "multiselect", "number", "boolean", "file"
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Option(_Part):
    value: str = Field(min_length=1, max_length=512)
    label: str = Field(min_length=1, max_length=512)
    description: str | None = Field(default=None, max_length=2000)


class FormField(_Part):
    """One value that is asked for; `options` are for `select` and `multiselect`."""

    id: str = Field(min_length=1, max_length=128)
    label: str = Field(min_length=1, max_length=512)
    type: FieldType = "text"
    required: bool = False
    options: list[Option] = Field(default=[], max_length=100)
    placeholder: str | None = Field(default=None, max_length=1000)
    default: Any = None


class Button(_Part):
    id: str = Field(min_length=1, max_length=128)
    label: str = Field(min_length=1, max_length=512)
    style: Literal["default", "primary", "danger"] = "default"


class Interaction(_Part):
    """A question. `expires_at` is in epoch seconds; the host allows at most a day.

    `fallback_text` is said where forms cannot be shown. The answer names
    `interaction_id`, which the runner chooses and should find in its state.
    """

    interaction_id: str = Field(min_length=1, max_length=255)
    kind: Literal["form", "confirmation", "choice"] = "form"
    title: str = Field(min_length=1, max_length=1000)
    description: str | None = Field(default=None, max_length=10_000)
    fields: list[FormField] = Field(default=[], max_length=50)
    actions: list[Button] = Field(default=[], max_length=20)
    expires_at: int | None = None
    fallback_text: str = Field(min_length=1, max_length=20_000)
