"""What happened in a lab, one JSON object a line: the lab's own record, written by its pid 1 and nobody else."""

import json
from pathlib import Path
from typing import Any

from vmha.model.clock import Clock


class Journal:
    """Appends events to a file. ``t`` counts seconds since the journal was opened, ``at`` is the wall clock."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._start = clock.now()
        self._file = path.open("a", buffering=1)  # by line: a killed lab loses no event

    def note(self, event: str, **fields: Any) -> None:
        head = {"t": round(self._clock.now() - self._start, 3), "at": round(self._clock.wall(), 3), "event": event}
        self._file.write(json.dumps(head | fields) + "\n")
