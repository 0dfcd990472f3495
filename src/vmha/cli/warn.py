"""What an operator should know and nothing is refused for: on standard error, for people."""

import sys
from collections.abc import Sequence

from vmha.cli.output import screen


def warn(lines: Sequence[str]) -> None:
    on = screen(sys.stderr)
    for line in lines:
        print(f"{on.paint('vmha: warning:', 'yellow')} {line}", file=sys.stderr, flush=True)
