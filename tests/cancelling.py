"""Cancel at every await: see :mod:`caseassist.testing`."""

from caseassist.testing import CancelledAt, cut_off

__all__ = ["CancelledAt", "cut_off"]
