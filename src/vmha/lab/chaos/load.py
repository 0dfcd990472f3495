"""A busy host: programs that compute and one that keeps its disk busy, inside the machine, until they are ended.

Each is a session of its own, so that its number ends it with everything it started. The numbers lie where a host that
loses its power forgets them: after its next boot they would be somebody else's.
"""

_NUMBERS, _WRITTEN = "/run/vmha-load", "/var/lib/vmha-load"
_COMPUTING = 2
_FILE_MIB = 32

_COMPUTE = "while :; do :; done"
_WRITE = f"while :; do dd if=/dev/zero of={_WRITTEN} bs=1M count={_FILE_MIB} conv=fsync; done"


def _started(name: str, work: str) -> str:
    return f"setsid sh -c 'echo $$ >{_NUMBERS}/{name} && {work}' >/dev/null 2>&1 </dev/null &"


BEGIN_LOAD = " ".join(
    [
        f"mkdir -p {_NUMBERS} || exit;",
        *(_started(f"computes-{number}", _COMPUTE) for number in range(_COMPUTING)),
        _started("writes", _WRITE),
        f"until [ $(find {_NUMBERS} -type f -size +0 | wc -l) = {_COMPUTING + 1} ]; do sleep 0.05; done",
    ]
)
"""A shell script; it ends when each has said its number, what it started goes on."""

END_LOAD = (
    f'for f in {_NUMBERS}/*; do [ ! -e "$f" ] || kill -KILL "-$(cat "$f")"; done 2>/dev/null; '
    f"rm -rf {_NUMBERS} {_WRITTEN}"
)
"""Ends all of it; does nothing where none is."""
