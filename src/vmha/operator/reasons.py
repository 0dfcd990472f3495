"""Why somebody does something, in his own words: of a hold, a drain, a start, a stop. One bounded line."""

from typing import Final

from vmha.model.errors import Rejected

LONGEST_REASON: Final = 200


def checked_reason(said: str) -> str:
    """With single blanks between its words.

    Raises:
        Rejected: it is longer than anybody reads, or no text.
    """
    text = " ".join(said.split())
    if len(text) > LONGEST_REASON:
        raise Rejected(f"reason: {len(text)} characters", accepted=f"at most {LONGEST_REASON}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Rejected(f"reason: {text!r}: it is no text", accepted="text in UTF-8") from error
    return text
