"""Labels of nodes on a command line."""

from collections.abc import Iterable


def labels_of(texts: Iterable[str], option: str) -> dict[str, str]:
    """Raises: Rejected when one is not LABEL=VALUE, or a label is given twice."""
    from vmha.model.errors import Rejected

    found: dict[str, str] = {}
    for text in texts:
        label, equals, value = text.partition("=")
        if not equals or not label or not value:
            raise Rejected(f"{option}: {text!r}", accepted="LABEL=VALUE, like disk=ssd")
        if label in found:
            raise Rejected(f"{option}: {label} is given twice", accepted="each label once")
        found[label] = value
    return found
