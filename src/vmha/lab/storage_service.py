"""The lab's shared storage as a program of its own, for a cluster in containers: ``vmha-storage`` in the image.

    serve            the NBD server, until SIGTERM
    add NAME         a fresh witness disk; prints the libvirt definition of a guest that boots from it
    verdict NAME     whether that guest ever ran twice, by its own disk and by who wrote to it; exit code 1 if it did

It is one process without a spare, as the lab's is: for trying things out and for tests, not for data.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

from vmha.lab.journal import Journal
from vmha.lab.layout import STORAGE_PORT
from vmha.lab.nbd import StorageServer
from vmha.lab.witness.disk import make_disk
from vmha.lab.witness.domain import witness_domain_xml
from vmha.lab.witness.verdict import read_disk
from vmha.model.clock import SystemClock

_JOURNAL = "journal.jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


async def serve(directory: Path, port: int) -> None:
    clock = SystemClock()
    journal = Journal(directory / _JOURNAL, clock)
    server = StorageServer(directory, journal=journal, clock=clock, host_name=lambda address: address)
    await server.start("0.0.0.0", port)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(f"serves {directory} at port {port}", flush=True)
    await stop.wait()


def verdict(directory: Path, name: str) -> dict[str, object]:
    """The disk and the server each may convict: the one by what was written, the other by who took turns.

    Raises:
        OSError: there is no such disk.
    """
    disk = read_disk(directory / f"{name}.img")
    events = [json.loads(line) for line in (directory / _JOURNAL).read_text().splitlines()]
    mine = [event for event in events if event.get("export") == name]
    double_writers = sum(event["event"] == "storage-double-writer" for event in mine)
    return {
        "vm": name,
        "ran_twice": disk.ran_twice or bool(double_writers),
        "boots": disk.boots,
        "ticks": disk.ticks,
        "writers": [event["writer"] for event in mine if event["event"] == "storage-writer"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="vmha-storage", description="Shared storage for trying things out.")
    parser.add_argument("--dir", type=Path, default=Path("/srv/vmha"), help="where disks are (default: %(default)s)")
    parser.add_argument("--port", type=int, default=STORAGE_PORT, help="default: %(default)s")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("serve", help="be the server")
    for verb, words in (("add", "make a witness disk"), ("verdict", "say whether that guest ever ran twice")):
        verbs.add_parser(verb, help=words).add_argument("name")
    flags = parser.parse_args()
    if flags.verb == "serve":
        asyncio.run(serve(flags.dir, flags.port))
        return 0
    if not _NAME.fullmatch(flags.name):
        parser.error(f"{flags.name!r} can not be a name (accepted: letters, digits, and _.- after the first)")
    try:
        if flags.verb == "add":
            make_disk(flags.dir / f"{flags.name}.img")
            host = os.environ.get("VMHA_STORAGE_NAME") or os.uname().nodename
            print(witness_domain_xml(flags.name, address=host, port=flags.port), end="")
            return 0
        found = verdict(flags.dir, flags.name)
    except OSError as error:
        print(f"vmha-storage: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(json.dumps(found, indent=1))
    return 1 if found["ran_twice"] else 0


if __name__ == "__main__":
    sys.exit(main())
