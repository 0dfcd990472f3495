"""``vmha completion``: the script by which a shell completes ``vmha``'s words (cli/completing.py answers it)."""

from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(
    shell: Annotated[
        Shell, typer.Argument(metavar="SHELL", help="The shell to print it for: bash, zsh or fish.", show_default=False)
    ],
) -> None:
    """Print a shell's completion script: verbs, options, and names of vms, nodes, services and rules that exist.

    bash: vmha completion bash > /etc/bash_completion.d/vmha; zsh: ... zsh > a directory of $fpath, as _vmha;
    fish: ... fish > ~/.config/fish/completions/vmha.fish
    """
    from importlib.resources import files

    print(files("vmha.cli.completions").joinpath(f"vmha.{shell}").read_text(), end="")
