"""The names of permissions that are asked for apart from a model's own four.

Nothing but names: workers import it too, and load no REST framework.
"""

SEND = "langbot_runners.add_eventlog"
CANCEL_RUN = "langbot_runners.cancel_run"
RESOLVE_ACTION = "langbot_runners.resolve_action"
VIEW_ACTIONS = "langbot_runners.view_pendingaction"
TAKE_OVER = "langbot_runners.take_over"
RAW_PAYLOAD = "langbot_runners.view_raw_payload"
COST = "langbot_runners.view_cost"
CHANGE_TIER = "langbot_agents.change_persontier"
SECRETS = "langbot_core.manage_secrets"
