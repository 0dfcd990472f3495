"""``vmha web``: the cluster in a browser."""

from typing import TYPE_CHECKING, Annotated

import typer

from vmha.cli import web_token, web_user
from vmha.cli.context import do
from vmha.cli.output import show
from vmha.cli.warn import warn
from vmha.cli.web_settings import prefer_own_settings, settings_of_web

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.add_typer(web_user.app, name="user")
app.add_typer(web_token.app, name="token")


@app.callback(invoke_without_command=True)
def web(
    ctx: typer.Context,
    listen: Annotated[
        str | None, typer.Option(help="Address and port (default: listen of [web] in the settings, 127.0.0.1:9780).")
    ] = None,
) -> None:
    """Serve the dashboard until Ctrl-C: nodes, vms, migrations and the journal as they change, what-if, and verbs."""
    prefer_own_settings()
    if ctx.invoked_subcommand:
        return
    import gc
    from importlib.util import find_spec

    from vmha.cli.connect import settings_of
    from vmha.model.errors import Rejected

    if not (find_spec("starlette") and find_spec("uvicorn")):
        raise Rejected(
            "vmha web needs Starlette and uvicorn", accepted="the Debian package, or in a checkout pip install '.[web]'"
        )
    from vmha.node.logs import set_up_logging
    from vmha.web.serve import serve

    gc.set_threshold(700, 10, 10)  # the interpreter's own: this one stays for months, unlike other verbs
    settings = settings_of_web(listen)
    written = settings_of()
    set_up_logging(str(written.get("log_level", "info")), str(written.get("log_format", "json")))

    async def work(client: "OperatorClient") -> None:
        address = f"[{settings.host}]" if ":" in settings.host else settings.host
        show(f"http{'s' if settings.over_tls else ''}://{address}:{settings.port}/ (Ctrl-C ends it)")
        if settings.why_no_login:
            warn([settings.why_no_login])
        await serve(client, settings)

    do(ctx, work)
