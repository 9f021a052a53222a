"""At least one row of every model in the admin, with secrets that must never show."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from agents.models import (
    AgentBinding,
    Model,
    ModelPrice,
    ModelProvider,
    PackageProcess,
    PersonTier,
    Plugin,
    PluginConnection,
    RunnerDescriptor,
)
from agents.registry.models import PluginToken
from agents.registry.tokens import create_plugin_token
from agents.services import save_agent, save_binding
from artifacts.models import Artifact
from langbot.core.accounts import create_service_account
from langbot.core.models import Notification, NotificationPreference, Workspace
from langbot.core.tokens import create_api_token
from platforms.models import Bot
from runners.models import (
    AgentRun,
    Delivery,
    HostCall,
    HostCallRefusal,
    QueuedMessage,
    RemoteRuntime,
    RunnerState,
    ToolGrant,
    TranscriptItem,
    WorkerNode,
)
from tests.factories import AgentFactory
from tests.runners.admin_rows import add_events, add_money, make_action, make_run

RUNNER = "plugin:acme/tools/main"
SECRET = "s3cret-value-of-a-test"
SCHEMA = [
    {
        "name": "api-key",
        "type": "secret",
        "required": True,
        "label": {"en_US": "Key of the service", "zh_Hans": "服务密钥"},
    },
    {"name": "model", "type": "model-fallback-selector"},
    {"name": "prompt", "type": "prompt-editor"},
    {
        "name": "auth",
        "type": "select",
        "default": "none",
        "options": [{"name": "none"}, {"name": "basic"}],
    },
    {
        "name": "user",
        "type": "string",
        "required": True,
        "show_if": {"field": "auth", "operator": "eq", "value": "basic"},
    },
    {"name": "stream", "type": "boolean", "default": True},
    {"name": "timeout", "type": "integer", "default": 60},
]


def populate():
    """Create the rows; returns the plain tokens, which must never show either."""
    workspace = Workspace.objects.create(slug="shop", name="The shop")
    user = get_user_model().objects.create_user("bob", password="bob's password")
    Group.objects.get_or_create(name="operators")
    workspace.memberships.create(user=user)
    create_service_account(workspace, "crm", author="ada", groups=["viewers"])
    _api_token, plain_api = create_api_token(user, workspace, "ci", scopes=["runs"])
    token, plain_plugin = create_plugin_token("home", workspace=workspace)
    add_registry(workspace, token)
    agent = add_agent(workspace)
    bot = Bot(workspace=workspace, slug="hook", name="Hook", adapter="webhook")
    bot.secrets = {"secret": SECRET, "signing-secret": SECRET}
    bot.save()
    save_binding(
        AgentBinding(agent=agent, scope="bot", scope_ref=bot.slug), author="ada"
    )
    add_records(workspace, agent, bot)
    add_asked(workspace, agent, user)
    return [plain_api, plain_plugin]


def add_registry(workspace, token):
    RunnerDescriptor.objects.create(
        runner_id=RUNNER,
        plugin="acme/tools",
        version="1.2.0",
        kind="Runner",
        label={"en_US": "Toolbox", "zh_Hans": "工具箱"},
        capabilities={"streaming": True, "steering": False},
        config_schema=SCHEMA,
    )
    plugin = Plugin.objects.create(
        name="acme/tools",
        version="1.2.0",
        icon=b"GIF89a",
        icon_type="image/gif",
        readme="# Tools\n\nA *box* of them. <script>x</script>",
    )
    version = plugin.versions.create(
        version="1.2.0", sha256="0" * 64, size=9, status="ready", build_log="done"
    )
    PackageProcess.objects.create(
        plugin=plugin,
        current=version,
        token=token,
        secret=SECRET,
        log_tail="it runs",
    )
    PluginConnection.objects.create(
        token=token,
        workspace=workspace,
        plugin="acme/tools",
        runners=[RUNNER],
        web_node="n1",
        status="online",
    )
    provider = ModelProvider.objects.create(
        workspace=workspace, name="Cloud", base_url="https://ai.test", api_key=SECRET
    )
    model = Model.objects.create(provider=provider, name="small-model")
    ModelPrice.objects.create(model=model, input_microdollars=2_000_000)


def add_agent(workspace):
    agent = AgentFactory.build(
        workspace=workspace,
        slug="helper",
        name="Helper",
        runner_id=RUNNER,
        runner_config={"api-key": SECRET},
    )
    return save_agent(agent, author="ada")


def add_asked(workspace, agent, user):
    """Add what waits for a person and what was decided, and who is told by mail."""
    run = AgentRun.objects.filter(agent=agent).earliest("pk")
    secret = {"api_key": SECRET, "list": [{"token": SECRET}], "euro": 5}
    done = make_action(
        run,
        status="approved",
        decided_at=datetime.now(UTC),
        decided_by_name="ada",
        decision={"decision": "edit", "args": secret},
        answer={"result": {"password": SECRET}},
    )
    make_action(run, arguments=secret, parked=True)
    make_action(run, kind="question")
    grants = ToolGrant.objects
    grants.create(workspace=workspace, agent=agent, tool_name="pay", action=done)
    place = run.conversation
    grants.create(
        workspace=workspace, agent=agent, tool_name="look", conversation=place
    )
    NotificationPreference.objects.create(workspace=workspace, user=user)
    Notification.objects.create(
        workspace=workspace,
        recipient=user,
        kind="approval",
        key=str(done.public_id),
        context={"agent": agent.name, "what": "pay"},
        not_before=datetime.now(UTC),
    )


def add_records(workspace, agent, bot):
    now = datetime.now(UTC)
    run = make_run(agent, usage={"total_tokens": 12}, snapshot={"config": {}})
    add_events(
        run,
        ("run.queued", {}),
        ("run.started", {}),
        ("message.delta", {"text": "Hello "}),
        ("message.delta", {"text": "world"}),
        ("warning", {"code": "unknown_result_type", "data": {"api_key": SECRET}}),
        ("run.completed", {"finish_reason": "stop"}),
    )
    TranscriptItem.objects.create(
        conversation=run.conversation, seq=1, role="user", text="Hello there", run=run
    )
    Delivery.objects.create(
        workspace=workspace,
        run=run,
        conversation=run.conversation,
        bot_id=bot.public_id,
        target="c1",
        payload={"text": "Hello world"},
        next_attempt_at=now,
        attempts=1,
        attempt_log=[{"at": "12:00", "error": "refused"}],
    )
    add_money(agent, run, "api:user:1")
    PersonTier.objects.create(workspace=workspace, person="api:user:1", tier="pro")
    HostCall.objects.create(run=run, invocation=1, plugin_seq_id=4, action="call_tool")
    HostCallRefusal.objects.create(
        run=run,
        action="call_tool",
        code="permission_denied",
        count=3,
        first_at=now,
        last_at=now,
    )
    other = make_run(agent, status="running", node=uuid4())
    QueuedMessage.objects.create(
        conversation=other.conversation, event=other.event, agent=agent
    )
    RunnerState.objects.create(
        workspace=workspace,
        runner_id=RUNNER,
        scope="actor",
        scope_key="actor:v2:00",
        key="memory",
        value={"n": 1},
    )
    for silence in (timedelta(0), timedelta(hours=1)):
        RemoteRuntime.objects.create(
            workspace=workspace,
            token=PluginToken.objects.filter(workspace=workspace).latest("pk"),
            runtime_id=f"far {silence}",
            plugin="acme/far",
            connection_id=uuid4(),
            heartbeat_at=now - silence,
            heartbeat_deadline_at=now - silence + timedelta(minutes=1),
        )
    WorkerNode.objects.create(name="host:1", started_at=now, heartbeat_at=now)
    WorkerNode.objects.create(
        name="host:2", started_at=now, heartbeat_at=now - timedelta(hours=1)
    )
    Artifact.objects.create(
        workspace=workspace,
        type="image",
        name="cat.png",
        source="platform",
        storage="blob",
        reference="blobs/secret-path",
    )
