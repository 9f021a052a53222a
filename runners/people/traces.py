"""What other tables than the ledger have of a person."""

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from agents.models import (
    AgentBinding,
    PersonTier,
    PluginStorage,
    Quota,
    QuotaWindow,
    UsageRecord,
)
from artifacts.models import Artifact
from langbot.core.audit_erasing import Traces
from langbot.core.models import Workspace
from langbot.lib.ids import UUID_TEXT
from runners.ledger.scopes import identity_key
from runners.models import AgentRun, Conversation, RunnerState
from runners.people.persons import Holdings, Person, parts
from runners.spending import person_of
from runners.states import keys_of

_TELLING = 6  # characters that no other word has by chance


def traces_of(found: Holdings) -> Traces:
    """Return the words and ids by which other rows tell of the person."""
    ids = {str(key) for name in found.keys for key in found.values(name, "public_id")}
    ids |= {str(file.public_id) for page in files_of(found) for file in page}
    return words_of(found.person).with_objects(frozenset(ids))


def words_of(person: Person) -> Traces:
    """Return the words alone."""
    whole = frozenset({person.username} - {""})
    return Traces(person.pseudonym, identifiers(person), whole=whole)


def identifiers(person: Person) -> frozenset[str]:
    """Return the words that mean this person and nothing else.

    A short id, such as `42`, means something only beside a word that says what it is;
    a name that people chose may be anybody's.
    """
    actor = person.actor_id
    if len(actor) >= _TELLING:
        return frozenset({actor})
    return frozenset(f"{kind}:{actor}" for kind in ("actor", "person", "user"))


def audited_in(person: Person) -> Workspace | None:
    """Return the only workspace whose audit entries count; None for all of them."""
    return person.workspace if person.within else None


def files_of(found: Holdings) -> Iterator[QuerySet[Artifact]]:
    """Yield the files of the person's runs, conversations and messages, in pages."""
    for part in parts(set(found.values("runs", "public_id"))):
        yield Artifact.objects.filter(run_id_ref__in=part)
    for part in parts(set(found.values("conversations", "public_id"))):
        yield Artifact.objects.filter(conversation_id_ref__in=part)
    shared = Conversation.objects.filter(pk__in=found.shared).values("public_id")
    for part in parts(_named_files(found)):
        yield Artifact.objects.filter(
            public_id__in=part, conversation_id_ref__in=shared
        )


def _named_files(found: Holdings) -> set[str]:
    columns = (("events", "input"), ("messages", "artifact_refs"))
    texts = (
        str(value)
        for name, column in (*columns, ("messages", "content"))
        for value in found.values(name, column)
    )
    return {one for text in texts for one in UUID_TEXT.findall(text)}


def states_of(found: Holdings) -> QuerySet[RunnerState]:
    """Return what runners keep for the person, and for conversations of their own."""
    keys = _keys_of_runs(found) | set(_forgotten_keys(found.person))
    pages = (RunnerState.objects.filter(scope_key__in=part) for part in parts(keys))
    found_rows = {pk for page in pages for pk in page.values_list("pk", flat=True)}
    return RunnerState.objects.filter(pk__in=found_rows)


def _keys_of_runs(found: Holdings) -> set[str]:
    keys: set[str] = set()
    for page in found.pages("runs"):
        for run in page.select_related("event", "conversation", "binding"):
            mine = keys_of(run)
            wanted = ["actor"]
            if str((run.event.subject or {}).get("id")) == found.person.actor_id:
                wanted.append("subject")
            if run.conversation_id in found.keys["conversations"]:
                wanted.append("conversation")
            keys |= {mine[scope] for scope in wanted if scope in mine}
    return keys


def _forgotten_keys(person: Person) -> Iterator[str]:
    """Yield keys of values whose runs are gone: of all that could have made one."""
    rows = RunnerState.objects.filter(scope="actor")
    if person.workspace is not None:
        rows = rows.filter(workspace=person.workspace)
    makers = rows.order_by().values_list("workspace", "runner_id").distinct()
    for workspace_id, runner_id in list(makers):
        for binding in _binding_names(workspace_id):
            yield identity_key(
                {
                    "runner": runner_id,
                    "binding": binding,
                    "bot": str(person.bot_id or ""),
                    "workspace": workspace_id,
                },
                "actor",
                {"type": "user", "id": person.actor_id},
            )


def _binding_names(workspace_id: int) -> list[str]:
    bindings = AgentBinding.objects.filter(agent__workspace=workspace_id)
    agents = AgentRun.objects.filter(workspace=workspace_id).order_by()
    return [
        *map(str, bindings.values_list("public_id", flat=True)),
        *(f"a:{key}" for key in agents.values_list("agent", flat=True).distinct()),
    ]


def stored_values_of(found: Holdings) -> QuerySet[PluginStorage]:
    """Return what plugins keep under keys that name the person or their rows."""
    traces = traces_of(found)
    rows = PluginStorage.objects.all()
    if found.person.workspace is not None:
        rows = rows.filter(workspace=found.person.workspace)
    keys = rows.values_list("pk", "key")
    named = [pk for pk, key in keys.iterator(1000) if traces.are_in(key)]
    return PluginStorage.objects.filter(pk__in=named)


def usage_of(found: Holdings) -> QuerySet[UsageRecord]:
    """Return what model calls of the person used."""
    named = _named(found.person, UsageRecord, "person")
    for part in parts(set(found.values("runs", "public_id"))):
        rows = UsageRecord.objects.filter(run_id__in=part)
        named += rows.values_list("pk", flat=True)
    return UsageRecord.objects.filter(pk__in=named)


def limits_of(person: Person) -> list[QuerySet[Any]]:
    """Return the rows that say what the person may spend and has spent."""
    columns = ((Quota, "person"), (PersonTier, "person"), (QuotaWindow, "subject"))
    return [
        model._default_manager.filter(pk__in=_named(person, model, column))
        for model, column in columns
    ]


def _named(person: Person, model: Any, column: str) -> list[int]:
    """Return the rows whose column names the person as `<place>:<actor id>`."""
    rows = model._default_manager.order_by()
    if person.username:
        rows = rows.filter(**{f"{column}__endswith": f":{person.actor_id}"})
    else:
        name = person_of(person.bot_id, {"id": person.actor_id})
        rows = rows.filter(**{column: name})
        if person.workspace is not None:
            rows = rows.filter(workspace=person.workspace)
    return list(rows.values_list("pk", flat=True))
