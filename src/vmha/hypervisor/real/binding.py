"""libvirt's Python binding, loaded when first needed, and the one thread that runs its event loop.

libvirt delivers events, keepalives and news of a closed connection through an event loop of its own, which belongs to
the process and must exist before the first connection is opened. It runs in one daemon thread: while a call of the
binding's asyncio loop waits in a worker thread, that loop delivers nothing until the call ends, and may lose events.
"""

import functools
import threading
from types import ModuleType

from vmha.model.errors import Rejected

REMEDY = (
    "Python's libvirt binding is missing. On Debian: apt-get install python3-libvirt, and a venv made with "
    "/usr/bin/python3 -m venv --system-site-packages. Elsewhere: in a checkout pip install '.[libvirt]'"
)

_lock = threading.Lock()


@functools.cache
def _load() -> ModuleType:
    try:
        import libvirt
    except ImportError as error:
        raise Rejected(REMEDY) from error
    # Without a handler the binding prints every error to stderr, also those that are handled.
    libvirt.registerErrorHandler(lambda *_: None, None)
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_run_events, name="libvirt-events", daemon=True).start()
    return libvirt


def _run_events() -> None:
    import libvirt

    while True:
        libvirt.virEventRunDefaultImpl()


def ensure_loaded() -> None:
    """Load the binding and start its event thread; any number of calls, from any thread.

    Raises:
        Rejected: there is no binding; says which command mends that.
    """
    with _lock:
        _load()
