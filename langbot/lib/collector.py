"""Keeps the garbage collector away from what lives as long as the process.

And gives what a load has left behind back to the system.
"""

import ctypes
import gc
import sys
import threading
import time

# New containers between two young collections, and of those between two older ones.
# Python's 700 fit a script: a busy web process spent a tenth of its time collecting.
# The oldest are looked at often, as the frozen are not among them: four and ten times
# more seldom, cycles of ended requests took 30 MB more, at no less CPU.
_THRESHOLDS = 10_000, 5, 2
_LOOK_SECONDS = 5.0
# Of a processor from look to look: a process that takes less is at rest.
_REST_SECONDS = 0.1 * _LOOK_SECONDS
_RESTS = 3  # looks at rest; the last frames of a run are kept for 10 s (`relay`)


def settle() -> None:
    """Take all objects of now for immortal; call it once, when all is loaded.

    A full collection looks at every object that is not: a process with Django, REST
    framework and the admin has hundreds of thousands, and looking takes a tenth of a
    second, in the middle of whatever allocates next.

    From then on a thread releases memory whenever the process rests after work.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    threading.Thread(target=_release_at_rest, name="release", daemon=True).start()


def release() -> None:
    """Collect, and return what the C library keeps of freed memory to the system.

    It keeps what lies between blocks in use: 50 to 70 MB of a web process after 128
    runs at once. Takes up to some 50 ms, some of them with the interpreter's lock.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's, not musl's
        if trim is not None:
            trim(0)


def _release_at_rest() -> None:
    before = time.process_time()
    rests = _RESTS  # nothing to release before the first work
    while True:
        time.sleep(_LOOK_SECONDS)
        used = time.process_time()
        rests = rests + 1 if used - before < _REST_SECONDS else 0
        if rests == _RESTS:
            release()
        before = time.process_time()
