"""Names in order, to find those that begin with a prefix."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

__all__ = ["Names"]

BLOCK = 512


class Names:
    """A set of names, kept in order.

    They are in blocks: in one long list, half of it would have to move for each name that comes or goes.
    """

    def __init__(self) -> None:
        self._blocks: list[list[str]] = []
        self._firsts: list[str] = []
        """The first name of each block. It need not be there any more; none before it is."""

    def __iter__(self) -> Iterator[str]:
        return (name for block in self._blocks for name in block)

    def add(self, name: str) -> None:
        """Put it in, if it is not there."""
        if not self._blocks:
            self._blocks.append([name])
            self._firsts.append(name)
            return
        number = self._number(name)
        block = self._blocks[number]
        place = bisect_left(block, name)
        if place < len(block) and block[place] == name:
            return
        block.insert(place, name)
        if not place:
            self._firsts[number] = name
        if len(block) > BLOCK:
            self._blocks.insert(number + 1, block[BLOCK // 2 :])
            self._firsts.insert(number + 1, block[BLOCK // 2])
            del block[BLOCK // 2 :]

    def discard(self, name: str) -> None:
        """Take it out, if it is there."""
        if not self._blocks:
            return
        number = self._number(name)
        block = self._blocks[number]
        place = bisect_left(block, name)
        if place < len(block) and block[place] == name:
            del block[place]
            if not block:
                del self._blocks[number], self._firsts[number]

    def latest(self, prefix: str, limit: int) -> list[str]:
        """Up to ``limit`` names that begin with a prefix, the greatest first, by code points."""
        found: list[str] = []
        end = f"{prefix}\U0010ffff"
        for number in range(self._number(end), -1, -1) if self._blocks else ():
            block = self._blocks[number]
            stop = bisect_left(block, end)
            start = max(bisect_left(block, prefix), stop - (limit - len(found)))
            found += reversed(block[start:stop])
            if start or len(found) == limit:
                break
        return found

    def _number(self, name: str) -> int:
        """The number of the block in which a name is, or would be."""
        return max(bisect_right(self._firsts, name) - 1, 0)
