"""A process that falls asleep in a transaction: `<run's key> <its fencing token>`.

It locks the run and says `locked`; for each line it is sent then it writes once more,
and says whether that was `refused` by the database or how many runs it `wrote`.
"""

import sys

import django
from django.db import DatabaseError, transaction


def main(run_id: int, token: int) -> None:
    from langbot.lib.models import lock_rows
    from runners.models import AgentRun

    try:
        with transaction.atomic():
            (run,) = lock_rows(AgentRun.objects.filter(pk=run_id))
            say("locked")
            write(run, token)
    except DatabaseError:
        say("refused")
    write(run, token)


def write(run, token):
    from langbot.lib.db import with_fresh_connection
    from runners.ledger.batches import Batch, write_batches
    from runners.ledger.fence import NewEvent

    sys.stdin.readline()
    event = NewEvent("message.delta", {"text": "stale"})
    batch = Batch(run.pk, run.conversation_id, token, [event])
    written = with_fresh_connection(write_batches, [batch])
    say(f"wrote {len(written.last_seq)}")


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    django.setup()
    main(*map(int, sys.argv[1:]))
