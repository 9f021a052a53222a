"""Web chat: the page reads the transcript, so a reply has arrived once it is there."""

from typing import TYPE_CHECKING, ClassVar

from django.utils.translation import gettext_lazy as _

from platforms.adapters.base import Adapter, SendResult

if TYPE_CHECKING:
    from platforms.models import Bot
    from runners.models import Delivery


class WebAdapter(Adapter):
    """The chat page of this host."""

    kind = "web"
    label = _("Web chat")
    config_schema: ClassVar = [
        {
            "name": "title",
            "type": "string",
            "label": {"en_US": "Title", "zh_Hans": "标题"},
            "description": {
                "en_US": "Shown above the chat; empty means the bot's name.",
                "zh_Hans": "显示在聊天上方；留空则使用机器人的名称。",
            },
            "default": "",
        },
        {
            "name": "greeting",
            "type": "text",
            "label": {"en_US": "Greeting", "zh_Hans": "问候语"},
            "description": {
                "en_US": "Shown to visitors before their first message.",
                "zh_Hans": "访客发送第一条消息之前显示。",
            },
            "default": "",
        },
    ]
    deduplicates = True
    supports_cards = True
    trigger_source = "webui"
    surface = "webui"

    def send(self, bot: "Bot", delivery: "Delivery") -> SendResult:
        """Succeed: the finish transaction wrote transcript and delivery together."""
        return SendResult(message_id=str(delivery.public_id))
