"""For those who test what they have built on caseassist: checks of stores and sinks, a clock, cancellation.

``check_store`` and ``check_sink`` hold an implementation to every promise that can be seen from outside, and name the
one that is broken. They need no test framework: call them in any async test, on asyncio or trio.
"""

from caseassist.testing.cancellation import CancelledAt, cut_off
from caseassist.testing.clock import FakeClock
from caseassist.testing.sinks import check_sink
from caseassist.testing.stores import check_store

__all__ = ["CancelledAt", "FakeClock", "check_sink", "check_store", "cut_off"]
