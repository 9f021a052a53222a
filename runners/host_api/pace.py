"""How often replies that grow are taken to the database: twice as often as shown."""

import time
from collections import OrderedDict
from uuid import UUID

from runners.ledger import saying

_KEPT = 1000  # replies that grow in one worker; a forgotten one is only taken sooner

Growing = tuple[UUID, str]  # a run, and the key of the reply in it


class Pace:
    """When each reply was taken last, as far as this process knows. Not thread-safe."""

    def __init__(self) -> None:
        self._taken: OrderedDict[Growing, float] = OrderedDict()

    def is_due(self, reply: Growing) -> bool:
        """Whether the text so far may be shown; if so, it counts as taken now.

        One that is not due is made good by the next one, and by the end at the latest:
        every text is all of it so far.
        """
        now = time.monotonic()
        last = self._taken.get(reply)
        if last is not None and now - last < saying.EDIT_PAUSE.total_seconds() / 2:
            return False
        self._taken[reply] = now
        self._taken.move_to_end(reply)
        if len(self._taken) > _KEPT:
            self._taken.popitem(last=False)
        return True

    def forget(self, reply: Growing) -> None:
        """The reply has ended: what comes for it now is looked at."""
        self._taken.pop(reply, None)
