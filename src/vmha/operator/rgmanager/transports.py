"""How a ``<vm>``'s migrations reached their target, in vmha's words.

RGManager started ``virsh migrate`` with a URI of its own making: ssh, as root, unless ``migration_uri`` said otherwise.
A tunnelled migration was tunnelled through that, so the two are read together: tunnelled over tcp would not be secret.
"""

from vmha.model.transport import ADDRESS, Transport, transport_of
from vmha.operator.rgmanager.draft import Draft
from vmha.operator.rgmanager.source import Attribute
from vmha.operator.rgmanager.values import is_true_word

_SETTING = "in each node's /etc/vmha/vmha.toml"


def migration_uri(draft: Draft, at: Attribute) -> None:
    if at.value == "auto":
        text = "RGManager used ssh; vmha goes by each node's migration_uri, which is qemu+tcp:// unless set"
        draft.changed(at, f"{text}: migration.transport: ssh goes as RGManager went")
        return
    if "%s" not in at.value:
        draft.left(at, "has no %s for the target", accepted="a URI such as qemu+tls://%s/system")
        return
    uri = at.value.replace("%s", ADDRESS, 1)
    transport = transport_of(uri) if uri.startswith("qemu") else None
    if transport is None:
        draft.left(at, f'is a setting of each node: migration_uri = "{uri}" in /etc/vmha/vmha.toml')
        return
    draft.migration["transport"] = transport.value
    if uri != f"qemu+{transport}://{ADDRESS}/system":
        draft.changed(at, f'migration.transport: {transport}; the rest of it goes {_SETTING}: migration_uri = "{uri}"')
    elif transport is Transport.TLS:
        text = "the guest's memory goes by TLS as well, for which QEMU wants certificates (/etc/pki/qemu)"
        draft.changed(at, f"migration.transport: tls; {text}")
    else:
        draft.taken(at, f"migration.transport: {transport}")


def tunnelled(draft: Draft, at: Attribute) -> None:
    if not is_true_word(at.value):
        draft.taken(at, "not tunnelled")
        return
    draft.migration["tunnelled"] = True
    uri = draft.source.attributes.get("migration_uri")
    if uri is None or uri.value == "auto":
        draft.migration["transport"] = Transport.SSH.value
        draft.taken(at, "migration.tunnelled: true, with migration.transport: ssh, as RGManager tunnelled")
    else:
        draft.taken(at, "migration.tunnelled: true")
