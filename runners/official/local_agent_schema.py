"""The fields of the local agent's form."""

from typing import Any, Final

DEFAULT_HISTORY: Final = 50
DEFAULT_ROUNDS: Final = 25
DEFAULT_RESULT_CHARACTERS: Final = 20_000  # wire 7
DEFAULT_PROMPT: Final = [{"role": "system", "content": "You are a helpful assistant."}]

LABEL: Final = {"en_US": "Local agent", "zh_Hans": "本地智能体"}
DESCRIPTION: Final = {
    "en_US": "Answers with the models of this installation.",
    "zh_Hans": "使用本系统配置的模型进行回复。",
}

CONFIG: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "model",
        "type": "model-fallback-selector",
        "label": {"en_US": "Model", "zh_Hans": "模型"},
        "description": {
            "en_US": "Fallbacks are tried in order when a model fails to start.",
            "zh_Hans": "模型无法开始回复时，依次尝试备用模型。",
        },
        "required": True,
        "default": {"primary": "", "fallbacks": []},
    },
    {
        "name": "prompt",
        "type": "prompt-editor",
        "label": {"en_US": "Prompt", "zh_Hans": "提示词"},
        "required": True,
        "default": DEFAULT_PROMPT,
    },
    {
        "name": "context-history-fetch-limit",
        "type": "integer",
        "label": {"en_US": "History length", "zh_Hans": "历史消息条数"},
        "description": {
            "en_US": "How many earlier messages of the conversation the model sees.",
            "zh_Hans": "模型可以看到的会话历史消息数量。",
        },
        "required": False,
        "default": DEFAULT_HISTORY,
    },
    {
        "name": "context-compaction",
        "type": "boolean",
        "label": {"en_US": "Summarise long talks", "zh_Hans": "总结长会话"},
        "description": {
            "en_US": "Before a conversation outgrows the model's context window, the "
            "model sums up its older part. It then sees the summary and all that was "
            "said after it, whatever the history length.",
            "zh_Hans": "会话即将超出模型的上下文窗口时，由模型总结较早的内容。"
            "之后模型会看到该总结及其后的全部消息，不受历史消息条数限制。",
        },
        "required": False,
        "default": True,
    },
    {
        "name": "max-tool-iterations",
        "type": "integer",
        "label": {"en_US": "Tool rounds", "zh_Hans": "工具调用轮数"},
        "description": {
            "en_US": "How often the model may ask for tools before it has to answer.",
            "zh_Hans": "模型必须作答之前最多可以请求工具的次数。",
        },
        "required": False,
        "default": DEFAULT_ROUNDS,
    },
    {
        "name": "max-tool-result-chars",
        "type": "integer",
        "label": {"en_US": "Length of tool answers", "zh_Hans": "工具结果长度"},
        "description": {
            "en_US": "Characters of a tool's answer that the model sees.",
            "zh_Hans": "模型可以看到的工具结果字符数。",
        },
        "required": False,
        "default": DEFAULT_RESULT_CHARACTERS,
    },
    {
        "name": "timeout",
        "type": "integer",
        "label": {"en_US": "Time limit (seconds)", "zh_Hans": "超时时间（秒）"},
        "required": False,
        "default": 300,
    },
    {
        "name": "remove-think",
        "type": "boolean",
        "label": {"en_US": "Remove thinking", "zh_Hans": "移除思考过程"},
        "description": {
            "en_US": "Leave out what the model marks as its thinking.",
            "zh_Hans": "不显示模型标记为思考过程的内容。",
        },
        "required": False,
        "default": False,
    },
)
