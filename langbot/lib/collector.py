"""Keeps the garbage collector away from what lives as long as the process."""

import gc

# New containers between two young collections, and of those between two older ones.
# Python's 700 fit a script: a busy web process spent a tenth of its time collecting.
# The oldest are looked at often, as the frozen are not among them: four and ten times
# more seldom, cycles of ended requests took 30 MB more, at no less CPU.
_THRESHOLDS = 10_000, 5, 2


def settle() -> None:
    """Take all objects of now for immortal; call it once, when all is loaded.

    A full collection looks at every object that is not: a process with Django, REST
    framework and the admin has hundreds of thousands, and looking takes a tenth of a
    second, in the middle of whatever allocates next.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
