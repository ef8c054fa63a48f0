"""Python's cyclic garbage collector, held while bytes are on their way.

h5py takes one global lock for every call, keeps it while it reads through our file object, and
takes it again whenever one of its objects is freed. If the collector happens to run in a thread
that fetches bytes and finds an h5py object, that thread waits for the lock, whose holder waits for
the bytes. So nothing is collected from the moment a part is asked for until it has arrived.
"""

import gc
import threading

_lock = threading.Lock()
_holders = 0
_was_enabled = True


def hold() -> None:
    """Switch the collector off until the matching `release`."""
    global _holders, _was_enabled
    with _lock:
        if _holders == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _holders += 1


def release() -> None:
    """Undo one `hold`; the last one switches the collector on again, if it was on."""
    global _holders
    with _lock:
        _holders -= 1
        if _holders == 0 and _was_enabled:
            gc.enable()
