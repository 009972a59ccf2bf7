"""Whether this process was forked since something was opened. Asking for the process id each time is a system call."""

import os

__all__ = ["Forks"]


class Forks:
    """Counts how often this process, and those that it came from, were forked since the first :meth:`watch`."""

    count = 0
    """Remember it, and compare: a child has another one."""
    _watched = False

    @classmethod
    def watch(cls) -> int:
        """Count from now on. Returns the count."""
        if not cls._watched and hasattr(os, "register_at_fork"):  # Windows does not fork
            os.register_at_fork(after_in_child=cls._add)
            cls._watched = True
        return cls.count

    @classmethod
    def _add(cls) -> None:
        cls.count += 1
