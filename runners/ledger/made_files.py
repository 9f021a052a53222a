"""Writing the files of runs, each with an event of its conversation (LB-59)."""

from collections.abc import Sequence
from uuid import UUID

from artifacts.made import MadeFile, insert_rows
from artifacts.models import Artifact
from langbot.lib.prepared import PreparedInsert
from runners.ledger.events import EventLog
from runners.ledger.runs import AgentRun
from runners.ledger.sent import made_event

_insert_events = PreparedInsert(EventLog)


def insert_files(files: Sequence[MadeFile]) -> None:
    """Insert the rows of files whose bytes are stored, and what says they were made.

    Call inside the transaction of their results, for runs that passed the fence. A
    text that the host keeps for the ledger is no file of a runner: it has no event.
    """
    if not files:
        return
    insert_rows(files)
    made = [file for file in files if file.source == Artifact.Source.RUNNER]
    makers = _makers(made)
    _insert_events([made_event(makers[file.run_id], file) for file in made])


def _makers(files: Sequence[MadeFile]) -> dict[UUID, AgentRun]:
    runs = AgentRun.objects.filter(public_id__in={file.run_id for file in files})
    read = ("public_id", "agent_id", "bot_id", "conversation")
    runs = runs.select_related("conversation").only(*read)
    return {run.public_id: run for run in runs}
