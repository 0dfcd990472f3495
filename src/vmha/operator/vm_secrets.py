"""Passwords in vms' definitions: in etcd every role that reads the cluster reads them. They are taken, and it is said.

What a vm has there already is not told again: ``vmha doctor`` names it.
"""

from collections.abc import Mapping

from vmha.model.domain_secrets import REMEDY, find_passwords, say_readable
from vmha.model.ids import VmName
from vmha.policy.state.snapshot import Snapshot


def password_brought(vm: str, xml: str, *, before: str = "") -> list[str]:
    """In words, for whoever brings this definition in the place of the one ``before``; never the password itself."""
    known = set(find_passwords(before).values())
    new = [place for place, password in find_passwords(xml).items() if password not in known]
    return [f"{say_readable(vm, new)}; keep it out of etcd by {REMEDY}"] if new else []


def passwords_brought(xmls: Mapping[str, str], snapshot: Snapshot) -> list[str]:
    """``xmls``: definitions that come into etcd, by their vms."""
    views = {name: snapshot.vms.get(VmName(name)) for name in sorted(xmls)}
    before = {name: view.spec.value.xml if view and view.spec else "" for name, view in views.items()}
    return [line for name in views for line in password_brought(name, xmls[name], before=before[name])]
