"""Runs inside a host: makes one thread of a process stand still, and no other. Its end lets the thread go on.

``argv``: the process; its first thread is the one, in an agent the one of the event loop. Unlike SIGSTOP this leaves
the process's other threads at work, and unlike a debugger nothing of the process is looked at or changed.
"""

import ctypes
import os
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000


def main() -> None:
    pid = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, pid, None, None):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.waitpid(pid, WALL)
    print("it stands", flush=True)
    sys.stdin.read()


main()
