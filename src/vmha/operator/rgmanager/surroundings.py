"""Everything in a ``cluster.conf`` that is no node, failover domain or vm: told one by one, with what vmha has."""

from vmha.operator.rgmanager.findings import Findings
from vmha.operator.rgmanager.source import Element
from vmha.operator.rgmanager.values import atoi, is_flag

_RM = {
    "status_poll_interval": "vmha does not poll: libvirt's events tell the end of a guest at once",
    "status_child_max": "vmha does not poll: there is nothing to limit",
    "statusmax": "vmha status reads etcd, and needs no limit",
    "transition_throttling": "vmha's pace is limited by config.limits (migrations_per_node, starts_per_node)",
    "log_level": "log_level is a setting of each node, in /etc/vmha/vmha.toml",
    "log_facility": "vmha logs to standard output, for systemd's journal",
}
_SECTIONS = {
    "cman": "vmha's members meet in etcd, which keeps the quorum",
    "quorumd": "etcd's own members keep the quorum; a disk has no vote",
    "dlm": "vmha locks in etcd",
    "gfs_controld": "concerns GFS, and goes on without vmha",
    "group": "vmha's members meet in etcd",
    "logging": "vmha logs to standard output, for systemd's journal",
    "uidgid": "who may write is etcd's to say",
    "fence_daemon": "vmha fences by proof; its delays are in config.timing",
    "fence_xvmd": "concerns fence_xvm's other side, and goes on without vmha",
    "totem": "vmha's members do not use totem",
}
_TAKEN = ("clusternodes", "fencedevices", "rm")


def is_central(rm: Element) -> bool:
    return is_flag(rm.attributes.get("central_processing", "0"))


def is_disabled(rm: Element) -> bool:
    return is_flag(rm.attributes.get("disabled", "0"))


def tell_cluster(root: Element, found: Findings) -> None:
    """The root's attributes, and its sections that are not vmha's."""
    for attribute in root.all_attributes():
        match attribute.name:
            case "name":
                text = f'the cluster\'s name is a setting of each node: cluster = "{attribute.value}" in vmha.toml'
                found.changed(attribute, text)
            case "config_version":
                found.taken(attribute, "in the head of the document")
            case _:
                found.left(attribute, "is not known here", accepted="name, config_version")
    for section in root.children:
        if section.tag in _TAKEN:
            continue
        found.left_whole(section, _SECTIONS.get(section.tag, "is not known here"))
        if section.tag == "cman" and is_flag(section.attributes.get("two_node", "0")):
            found.changed(section, "two nodes: etcd needs three members, so a third machine has to run one")
        if section.tag == "totem" and (token_ms := atoi(section.attributes.get("token", "0"))) > 0:
            text = (
                f"a lost node was noticed after {token_ms / 1000:g} s; in vmha config.profile decides: default takes "
            )
            found.changed(section, f"{text}over after 15 s of silence, tuned after 6 s, a fence agent sooner")


def tell_rm(rm: Element, found: Findings) -> None:
    """The attributes of ``<rm>``, and its events."""
    for attribute in rm.all_attributes():
        match attribute.name:
            case "central_processing":
                if is_central(rm):
                    text = (
                        "central processing: vmha always decides in one place, and migrates where central processing "
                        "stopped and started (failback, relocation of a node's vms)"
                    )
                    found.changed(attribute, text)
                else:
                    found.taken(attribute, "distributed processing, whose rules vmha has")
            case "disabled":
                if is_disabled(rm):
                    found.changed(attribute, "RGManager was switched off: nothing is wanted running, even with --start")
                else:
                    found.taken(attribute, "not disabled")
            case name if name in _RM:
                found.left(attribute, _RM[name])
            case _:
                known = ", ".join((*_RM, "central_processing", "disabled"))
                found.left(attribute, "is not known here", accepted=known)
    for event in (event for group in rm.named("events") for event in group.children):
        _event(event, found)


def _event(event: Element, found: Findings) -> None:
    text = "vmha takes no decisions from scripts; to be told of events: config.hooks (docs/reference/hooks.md)"
    if "follow_service" in event.text or "follow-service" in event.attributes.get("file", ""):
        text += ": follow_service kept two vms apart, which vmha can not do yet"
    found.left(event, text)
    for attribute in event.all_attributes():
        found.left(attribute, f"{text}; the script is {attribute.value}" if attribute.name == "file" else text)
