"""``python -m caseassist.cli``."""

from caseassist.cli import main

main()
