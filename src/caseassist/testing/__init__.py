"""For those who test what they have built on caseassist: checks of stores, sinks and helpdesks, a clock, cancellation.

``check_store``, ``check_sink`` and ``check_ticket_creator`` hold an implementation to every promise that can be seen
from outside, and name the one that is broken. They need no test framework: call them in any async test, on asyncio or
trio.
"""

from caseassist.testing.cancellation import CancelledAt, cut_off
from caseassist.testing.clock import FakeClock
from caseassist.testing.helpdesks import check_ticket_creator
from caseassist.testing.sinks import check_sink
from caseassist.testing.stores import check_store

__all__ = ["CancelledAt", "FakeClock", "check_sink", "check_store", "check_ticket_creator", "cut_off"]
