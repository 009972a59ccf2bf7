"""A token that does not show."""

from typing import NoReturn

__all__ = ["Secret"]


class Secret:
    """Holds a token and keeps it out of representations, pickles and copies. ``reveal`` gives it back.

    Raises ValueError, without echoing it, unless the token is printable ASCII without spaces: anything else could break
    out of an HTTP header.
    """

    __slots__ = ("_value",)

    def __init__(self, value: "str | Secret") -> None:
        if isinstance(value, Secret):
            value = value.reveal()
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("a token is printable ASCII without spaces, and not empty")
        self._value = value

    def reveal(self) -> str:
        """Return the token itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('…')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")
