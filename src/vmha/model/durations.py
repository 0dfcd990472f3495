"""A length of time in words, as it is told everywhere: 90 s are 1m30s, or in one unit 90 s."""


def in_words(seconds: float) -> str:
    """The two largest units that matter."""
    said = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, seconds = divmod(round(seconds), size)
        if number:
            said.append(f"{number:.0f}{unit}")
    return "".join(said[:2]) or "0s"


def ago(seconds: float) -> str:
    """In one unit: 12 s, 5 min, 3 h, 9 d."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{max(0, round(seconds / size))} {unit}"
    return f"{round(seconds / 86400)} d"
