"""What can be asked over the plugin socket, and how long an answer may take."""

from enum import StrEnum


class Action(StrEnum):
    """Actions of `wire.md` §2.5, §3, §5 and §6."""

    # Either direction.
    PING = "__ping"
    CANCEL_ACTION = "__cancel_action"
    STREAM_ACK = "__stream_ack"
    FILE_CHUNK = "__file_chunk"

    # Plugin to host, before anything else.
    REGISTER_PLUGIN = "register_plugin"

    # Host to plugin.
    INITIALIZE_PLUGIN = "initialize_plugin"
    GET_PLUGIN_CONTAINER = "get_plugin_container"
    GET_PLUGIN_ICON = "get_plugin_icon"
    GET_PLUGIN_README = "get_plugin_readme"
    GET_PLUGIN_ASSETS_FILE = "get_plugin_assets_file"
    RUN_RUNNER = "run_runner"
    RUN_AGENT = "run_agent"
    SHUTDOWN = "shutdown"

    # Plugin to host, on behalf of a run.
    GET_PROMPT = "get_prompt"
    HISTORY_PAGE = "history_page"
    HISTORY_SEARCH = "history_search"
    EVENT_GET = "event_get"
    EVENT_PAGE = "event_page"
    STEERING_PULL = "steering_pull"
    STATE_GET = "state_get"
    STATE_SET = "state_set"
    STATE_DELETE = "state_delete"
    STATE_LIST = "state_list"
    SET_PLUGIN_STORAGE = "set_plugin_storage"
    GET_PLUGIN_STORAGE = "get_plugin_storage"
    DELETE_PLUGIN_STORAGE = "delete_plugin_storage"
    GET_PLUGIN_STORAGE_KEYS = "get_plugin_storage_keys"
    SET_WORKSPACE_STORAGE = "set_workspace_storage"
    GET_WORKSPACE_STORAGE = "get_workspace_storage"
    DELETE_WORKSPACE_STORAGE = "delete_workspace_storage"
    GET_WORKSPACE_STORAGE_KEYS = "get_workspace_storage_keys"
    COUNT_TOKENS = "count_tokens"
    INVOKE_LLM = "invoke_llm"
    INVOKE_LLM_STREAM = "invoke_llm_stream"
    INVOKE_RERANK = "invoke_rerank"
    INVOKE_EMBEDDING = "invoke_embedding"
    GET_TOOL_DETAIL = "get_tool_detail"
    CALL_TOOL = "call_tool"
    RETRIEVE_KNOWLEDGE_BASE = "retrieve_knowledge_base"
    RUN_GET = "run_get"
    RUN_LIST = "run_list"
    RUN_EVENTS_PAGE = "run_events_page"
    RUN_CANCEL = "run_cancel"
    RUN_APPEND_RESULT = "run_append_result"
    RUN_FINALIZE = "run_finalize"
    CALL_PLATFORM_API = "call_platform_api"
    REPLY_STREAM = "reply_stream"
    GET_BOX_STATUS = "get_box_status"
    LIST_BOXES = "list_boxes"
    ACQUIRE_BOX = "acquire_box"
    BIND_BOX = "bind_box"
    IMPORT_BOX_ATTACHMENTS = "import_box_attachments"
    EXPORT_BOX_FILES = "export_box_files"

    # Beyond the released SDK (contract, "Runner protocol").
    ARTIFACT_METADATA = "artifact_metadata"
    ARTIFACT_READ = "artifact_read"
    ARTIFACT_READ_RANGE = "artifact_read_range"

    # Plugin to host, without a run: the control plane (and RUN_GET to RUN_FINALIZE).
    RUN_CLAIM = "run_claim"
    RUN_RENEW_CLAIM = "run_renew_claim"
    RUN_RELEASE_CLAIM = "run_release_claim"
    RUNTIME_REGISTER = "runtime_register"
    RUNTIME_HEARTBEAT = "runtime_heartbeat"
    RUNTIME_LIST = "runtime_list"
    RUNTIME_RECONCILE = "runtime_reconcile"
    RUNNER_LIST = "runner_list"
    RUN_STATS = "run_stats"
    RUNTIME_STATS = "runtime_stats"
    RUNNER_STATS = "runner_stats"

    # Plugin to host, without a run.
    GET_LANGBOT_VERSION = "get_langbot_version"
    GET_BOTS = "get_bots"
    GET_BOT_INFO = "get_bot_info"
    GET_LLM_MODELS = "get_llm_models"
    LIST_TOOLS = "list_tools"
    LIST_COMMANDS = "list_commands"
    LIST_PLUGINS_MANIFEST = "list_plugins_manifest"
    GET_CONFIG_FILE = "get_config_file"
    SEND_MESSAGE = "send_message"


BOX_ACTIONS = (
    Action.GET_BOX_STATUS,
    Action.LIST_BOXES,
    Action.ACQUIRE_BOX,
    Action.BIND_BOX,
    Action.IMPORT_BOX_ATTACHMENTS,
    Action.EXPORT_BOX_FILES,
)

DEFAULT_CALL_SECONDS = 15.0  # wire 2.9
CALL_SECONDS: dict[str, float] = {  # wire 2.9, only what differs from the default
    Action.STEERING_PULL: 10,
    Action.RUNTIME_HEARTBEAT: 10,
    Action.RUNTIME_RECONCILE: 30,
    Action.RUN_STATS: 30,
    Action.RUNNER_STATS: 30,
    Action.HISTORY_PAGE: 30,
    Action.HISTORY_SEARCH: 30,
    Action.EVENT_PAGE: 30,
    Action.RUN_LIST: 30,
    Action.RUN_EVENTS_PAGE: 30,
    Action.GET_TOOL_DETAIL: 30,
    Action.COUNT_TOKENS: 30,
    Action.RETRIEVE_KNOWLEDGE_BASE: 30,
    Action.INVOKE_RERANK: 30,
    Action.REPLY_STREAM: 30,
    Action.INVOKE_EMBEDDING: 60,
    Action.ARTIFACT_READ: 60,
    Action.ARTIFACT_READ_RANGE: 60,
    Action.INVOKE_LLM: 120,
    Action.INVOKE_LLM_STREAM: 120,  # the longest gap between two chunks
    Action.CALL_TOOL: 180,
    Action.CALL_PLATFORM_API: 180,
    **dict.fromkeys(BOX_ACTIONS, 180),
}


def call_seconds(action: str) -> float:
    """Return how long a plugin waits for the answer to `action`, in seconds."""
    return CALL_SECONDS.get(action, DEFAULT_CALL_SECONDS)
