"""``vmha``: the door. Runs a verb, and turns errors into one line and an exit code.

``vmha status`` is typed all day and watched by scripts, so it takes a short cut past the command-line library, which
alone would cost it a quarter of its time. Everything else goes through ``root``.
"""

import gc
import os
import sys
from collections.abc import Sequence

from vmha.cli.exits import INTERRUPTED, ExitCode, exit_code_of
from vmha.cli.output import complain
from vmha.model.errors import VmhaError

_QUICK = (["status"], ["status", "--json"])


def run(args: Sequence[str] | None = None) -> int:
    """The whole command line as a function: prints, and returns the exit code."""
    given = list(sys.argv[1:] if args is None else args)
    try:
        if "_VMHA_COMPLETE" in os.environ:
            from vmha.cli.completing import answer

            return answer(given)
        if given in _QUICK:
            _quick_status(as_json="--json" in given)
        else:
            _any_verb(given)
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except VmhaError as error:
        complain(str(error))
        return exit_code_of(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has gone
        return ExitCode.FAILED
    return ExitCode.DONE


def main() -> None:
    """The console script."""
    # Two habits of the interpreter that cost a short-lived command 0.1 s: collecting garbage while modules are being
    # imported (verbs that stay collect it all the same, a little later), and asking every installed distribution
    # whether it is a plugin of pydantic.
    gc.set_threshold(200_000, 10, 10)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if sys.argv[1:] in _QUICK:
        gc.disable()  # a moment later all is over, and what is read of a large cluster holds no garbage
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking the interpreter apart module by module costs another 0.05 s, and nothing is left to do


def _quick_status(*, as_json: bool) -> None:
    from vmha.cli.connect import find_place
    from vmha.cli.status_view import show_status

    show_status(find_place(), as_json=as_json)


def _any_verb(args: list[str]) -> None:
    import typer

    from vmha.cli.root import app

    typer.main.get_command(app).main(args=args, prog_name="vmha")
