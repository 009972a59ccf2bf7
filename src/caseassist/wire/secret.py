"""A token that does not show."""

from typing import NoReturn

__all__ = ["Secret"]

_RUN = 6
"""So many characters in a row tell something of a token. API keys of Coveo have 36 and more."""


class Secret:
    """Holds a token and keeps it out of representations, pickles and copies. ``reveal`` gives it back.

    Two secrets are never equal, so that nothing can be learnt by comparing; compare what they reveal.
    Raises ValueError, without echoing it, unless the token is printable ASCII without spaces: anything else could break
    out of an HTTP header. Raises TypeError unless it is text.
    """

    __slots__ = ("_value",)

    def __init__(self, value: "str | Secret") -> None:
        if isinstance(value, Secret):
            value = value.reveal()
        if not isinstance(value, str):
            raise TypeError("a token is a str or a Secret")
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("a token is printable ASCII without spaces, and not empty")
        self._value = str.__str__(value)

    def reveal(self) -> str:
        """Return the token itself."""
        return self._value

    def scrub(self, text: str) -> str:
        """Return a text with ``…`` in the place of whatever it holds of the token.

        That is every run of six characters or more that the token has, too, in capitals or not; of a shorter token
        the whole.
        """
        token, small = self._value.lower(), text.lower()
        if len(small) != len(text):  # a few letters become two: no place in one is the same place in the other
            return "…" if token in small else text
        run = min(_RUN, len(token))
        hidden = [False] * len(text)
        for start in range(len(text) - run + 1):
            if small[start : start + run] in token:
                hidden[start : start + run] = [True] * run
        scrubbed = ""
        for character, hide in zip(text, hidden, strict=True):
            if not hide:
                scrubbed += character
            elif not scrubbed.endswith("…"):
                scrubbed += "…"
        return scrubbed

    def __repr__(self) -> str:
        return "Secret('…')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")
