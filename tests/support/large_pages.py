"""The addresses that have to stay fast over a large ledger."""

from urllib.parse import urlencode

from django.urls import reverse

REST = "/api/v1/"
OVERVIEW = "admin:index"
RARE = ("failed", "timeout", "cancelled", "running", "queued", "created")
# Columns of the lists, by their place; those that no index has are not sortable.
COLUMNS = {"agentrun": 7, "eventlog": 6, "delivery": 7, "conversation": 5}


def listed(model, **given):
    """Return the address of a list of the ledger."""
    url = reverse(f"admin:langbot_runners_{model}_changelist")
    return f"{url}?{urlencode(given)}"


def page(model, key):
    return reverse(f"admin:langbot_runners_{model}_change", args=[key])


def admin_pages(ledger):
    """Return (address, whether every query of it has to go by an index)."""
    return [
        *((address, False) for address in _whole_lists(ledger)),
        *((address, True) for address in _narrowed_lists(ledger)),
        *((address, True) for address in _single_pages(ledger)),
    ]


def _whole_lists(ledger):
    """Lists of everything, and of what half of all rows are."""
    yield from (f"{reverse(OVERVIEW)}?window={name}" for name in ("hour", "day"))
    yield reverse("admin:langbot_agents_agent_changelist")
    for model, columns in COLUMNS.items():
        yield listed(model)
        yield listed(model, p=20 if model == "conversation" else 200)
        yield from (listed(model, o=f"-{number}") for number in range(1, columns + 1))
    yield listed("agentrun", o=1)
    yield listed("agentrun", status__exact="completed")
    # However they are read, the first 10,000 are soon counted.
    yield listed("agentrun", agent__id__exact=ledger.agents[0])
    yield listed("agentrun", period="day")
    yield listed("eventlog", outcome__exact="started")


def _narrowed_lists(ledger):
    run, bot = ledger.run(1), ledger.bot.public_id
    yield from (listed("agentrun", status__exact=status) for status in RARE)
    yield listed("agentrun", agent__id__exact=ledger.agents[501])
    yield listed("agentrun", agent__id__exact=ledger.agents[500], status__exact=RARE[0])
    yield listed("agentrun", bot_id__exact=bot)
    yield listed("agentrun", period="hour")
    yield listed("agentrun", period="month", status__exact="failed")
    yield listed("agentrun", label="bug")
    for text in (
        run.public_id,
        run.event.public_id,
        run.event.event_id,
        run.conversation.public_id,
        "large-message-77",
        "runner.error",
        "nothing",
    ):
        yield listed("agentrun", q=text)
    yield from (listed("eventlog", q=text) for text in (run.event.event_id, "nothing"))
    yield from (listed("eventlog", outcome__exact=one) for one in ("ignored", "queued"))
    yield listed("eventlog", bot_id__exact=bot)
    yield from (listed("delivery", status__exact=s) for s in ("failed", "uncertain"))
    yield listed("delivery", q="large-message-77")
    yield listed("conversation", q="large-room-7")
    yield listed("conversation", kind__exact="sub")


def _single_pages(ledger):
    run, long = ledger.run(1), ledger.run(99)  # the second has many events
    yield page("agentrun", run.pk)
    yield page("agentrun", long.pk)
    yield page("eventlog", run.event_id)
    yield page("conversation", run.conversation_id)


def rest_pages(ledger):
    """Return the same for REST, as a member of the large workspace sees it."""
    run, middle = ledger.run(1), ledger.run(ledger.rows // 2)
    when = middle.created_at.isoformat()
    whole = [
        "agents/",
        "runs/",
        "runs/?limit=200",
        "runs/?status=completed",
        rest("runs/", created_after=when),
        rest("runs/", created_before=when),
        rest("runs/", bot=ledger.bot.public_id),
        rest("runs/", **{"metadata.channel": "shop"}),
        "events/",
        "events/?type=message.received",
        "conversations/",
        "conversations/?kind=chat",
        "deliveries/",
        "deliveries/?status=delivered",
    ]
    narrowed = [
        "runs/?status=failed",
        "runs/?status=running",
        rest("runs/", conversation=run.conversation.public_id),
        rest("runs/", parent=run.public_id),
        rest("runs/", **{"metadata.ticket": "7"}),
        rest("runs/", **{"metadata.ticket": "8"}),
        rest("events/", event_id=run.event.event_id),
        "events/?outcome=queued",
        rest("conversations/", key="large-room-7"),
        "deliveries/?status=failed",
        rest("deliveries/", run=run.public_id),
        f"runs/{run.public_id}/",
        f"runs/{run.public_id}/events/",
        f"events/{run.event.public_id}/",
        f"conversations/{run.conversation.public_id}/messages/",
    ]
    return [
        *((REST + one, False) for one in whole),
        *((REST + one, True) for one in narrowed),
    ]


def rest(place, **given):
    return f"{place}?{urlencode(given)}"
