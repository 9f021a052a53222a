"""Fields of REST that are stricter than REST framework's."""

from typing import Any

from rest_framework import serializers


class TextField(serializers.CharField):
    """Text; numbers are none, where `CharField` would write them out."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)
