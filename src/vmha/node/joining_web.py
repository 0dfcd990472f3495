"""``vmha node join --web``: what a host's dashboard needs where etcd is spoken to by TLS.

It may not read the node's key. So it gets a certificate of its own, a reader's unless an operator's is asked for, and
settings that name it:

    web/ca.pem, cert.pem, key.pem    beside the node's settings, in a folder that is the dashboard's own
    web/https-cert.pem, -key.pem     what browsers are shown, where it listens to others and an authority issues
    web/vmha.toml                    which vmha web reads instead of the node's

The files are the folder's owner's, as that of the users is (``vmha web user``). Joining again brings a renewed
certificate, which a dashboard that runs takes into use by itself; settings that are there stay as they are.
"""

import pwd
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from vmha.model.document import in_words
from vmha.model.errors import Refused, Rejected
from vmha.model.permissions import operator_name, reader_name
from vmha.model.web import WebSettings
from vmha.node.container import to_toml
from vmha.node.handing_out import File, Holder, Owner, handed_out, is_authority
from vmha.node.joining import Joining
from vmha.node.settings import NodeSettings, TlsSettings, check_settings
from vmha.pki.authority import CA, CERT, KEY, Kind, web_name
from vmha.pki.certificates import read_certificate

USER: Final = "vmha-web"
"""As whom its unit runs it."""
HTTPS_CERT: Final = "https-cert.pem"
HTTPS_KEY: Final = "https-key.pem"
ROLES: Final = (Kind.READER, Kind.OPERATOR)
_TOO: Final = ("log_level", "log_format")
"""Settings of the node that are the dashboard's as well, where somebody has chosen them."""


def prepare_dashboard(
    config: Path,
    settings: NodeSettings,
    *,
    certificates: Path | None = None,
    source: Path | None = None,
    role: str = "",
    listen: str = "",
    now: datetime,
    only_look: bool = False,
) -> Joining | None:
    """Reads, and writes nothing but what an authority issues (nothing, if ``only_look``). None: it has what it needs.

    Args:
        config: The node's settings file.
        settings: The node's.
        certificates: What the node's certificate is out of; an authority issues the dashboard's as well.
        source: What the dashboard's is out of, if that is said: a folder that was issued, or an authority's.
        role: In etcd, ``reader`` or ``operator``; '': that of the certificate that is there, else reader.
        listen: Where browsers reach it, if that is said: ``ADDRESS:PORT``.
        now: The certificate has to be good then.

    Raises:
        Rejected: something given is not as it has to be, or nothing is there that could be a certificate.
        Refused: the dashboard's settings that are there say otherwise.
    """
    if role and role not in ROLES:
        raise Rejected(f"--web-role: {role!r}", accepted=" or ".join(ROLES))
    folder = config.parent / "web"
    own = folder / "vmha.toml"
    option = "--web-certificates" if source is not None else "--certificates"
    if source is None and certificates is not None and is_authority(certificates):
        source = certificates
    if settings.tls is None:
        for given, what in (("--web-certificates", source), ("--web-listen", listen)):
            if what:
                raise Rejected(
                    f"{given} {what}: etcd is spoken to without TLS, and the dashboard reads {config}",
                    accepted="no such option; a table [web] there",
                )
        return None
    if source is None:
        if own.exists() and not listen:
            return None
        raise Rejected(
            f"--web: etcd is spoken to by TLS, and there is no {own}",
            accepted=f"--web-certificates DIR (vmha pki issue AUTHORITY reader web-{settings.node}), or an authority's "
            "folder as --certificates",
        )
    tls, web, text = _settings(own, settings, listen=listen, can_issue=is_authority(source))
    # The dashboard's user may write these settings, and it is root who joins: nothing is put anywhere but there.
    if elsewhere := [path for path in (tls.cert, tls.key, tls.ca) if path.parent != folder]:
        if option == "--certificates":
            return None  # a site's own, from its own authority: not ours to replace
        raise Refused(f"{own} names {elsewhere[0]}, which is not in {folder}. Change the file, or leave out {option}")
    kind = Kind(role) if role else _kind_there(tls, source, settings.cluster)
    user = operator_name(settings.cluster) if kind is Kind.OPERATOR else reader_name(settings.cluster)
    owner = _owner(folder)
    holder = Holder(kind=kind, name=f"web-{settings.node}", user=user, owner=owner, option=option)
    files = handed_out(source, holder, settings.cluster, tls, now=now, only_look=only_look)
    if is_authority(source) and web.cert == folder / HTTPS_CERT and web.key == folder / HTTPS_KEY:
        shown = TlsSettings(ca=tls.ca, cert=web.cert, key=web.key)
        browsers = Holder(
            kind=Kind.WEB,
            name=settings.node,
            user=web_name(settings.node),
            addresses=_addresses(web, settings),
            owner=owner,
            option=option,
        )
        more = handed_out(source, browsers, settings.cluster, shown, now=now, only_look=only_look)
        files += [file for file in more if file.path != tls.ca]
    if text:
        files.append(File(path=own, content=text.encode(), mode=0o644, is_new=True, owner=owner))
    notes = [f"the dashboard speaks to etcd as {user}" + (": for reading" if kind is Kind.READER else "")]
    notes += [f"the dashboard: {web.why_no_login}"] if web.why_no_login else []
    joined = settings.model_copy(update={"tls": tls})
    return Joining(settings=joined, files=tuple(files), user=user, notes=tuple(notes))


def _addresses(web: WebSettings, settings: NodeSettings) -> tuple[str, ...]:
    """By which browsers come: where it listens, unless that is everywhere, and the node's address and name."""
    host = "" if web.host in ("0.0.0.0", "::", "") else web.host
    return tuple(dict.fromkeys(one for one in (host, settings.address, settings.node, *web.names) if one))


def _settings(
    own: Path, settings: NodeSettings, *, listen: str, can_issue: bool
) -> tuple[TlsSettings, WebSettings, str]:
    """The files for etcd, what browsers meet, and the text of new settings."""
    folder = own.parent
    tls = {"ca": str(folder / CA), "cert": str(folder / CERT), "key": str(folder / KEY)}
    if not own.exists():
        values: dict[str, Any] = {"cluster": settings.cluster, "endpoints": list(settings.endpoints)}
        values |= {name: getattr(settings, name) for name in _TOO if name in settings.model_fields_set}
        values["tls"] = tls
        # They are read instead of the node's, so they say what those say of it.
        web = settings.web.model_dump(mode="json", exclude_unset=True) if settings.web is not None else {}
        web |= {"listen": listen} if listen else {}
        if _web(web, "--web-listen").why_no_login and can_issue:
            web |= {"cert": str(folder / HTTPS_CERT), "key": str(folder / HTTPS_KEY)}
        values |= {"web": web} if web else {}
        check_settings({**values, "node": settings.node}, where=str(own))
        head = "# Written by vmha node join --web: the dashboard's own. What else can be set: docs/howto/dashboard.md\n"
        return _tls(tls), _web(web, str(own)), head + to_toml(values)
    try:
        all_there = tomllib.loads(own.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Rejected(f"{own}: {error}") from error
    there, shown = all_there.get("tls"), _web(all_there.get("web", {}), str(own))
    if listen and shown.listen != listen:
        raise Refused(f"{own} says otherwise: listen is {shown.listen} there, {listen} was asked for. Change the file")
    if not isinstance(there, dict) or not all(isinstance(there.get(name), str) for name in tls):
        raise Refused(
            f"{own} names no ca, cert and key in a table [tls], and etcd is spoken to by TLS. Change the file"
        )
    return _tls(there), shown, ""


def _web(written: Any, where: str) -> WebSettings:
    try:
        return WebSettings.model_validate(written)
    except ValidationError as error:
        raise in_words(error, where=where) from error


def _tls(named: Mapping[str, str]) -> TlsSettings:
    return TlsSettings(ca=Path(named["ca"]), cert=Path(named["cert"]), key=Path(named["key"]))


def _kind_there(tls: TlsSettings, source: Path, cluster: str) -> Kind:
    """Nobody's dashboard loses its verbs because its certificate is renewed; what is issued says itself what it is."""
    path = tls.cert if is_authority(source) else source / CERT
    try:
        known = read_certificate(path.read_bytes(), where=str(path))
    except (OSError, Rejected):
        return Kind.READER
    return Kind.OPERATOR if known.common_name == operator_name(cluster) else Kind.READER


def _owner(folder: Path) -> Owner:
    if folder.is_dir():
        there = folder.stat()
        return there.st_uid, there.st_gid
    try:
        known = pwd.getpwnam(USER)
    except KeyError as error:
        raise Rejected(
            f"--web: there is no user {USER}, who is to read its key",
            accepted="the Debian package, or deploy/systemd/vmha-web.sysusers and systemd-sysusers",
        ) from error
    return known.pw_uid, known.pw_gid
