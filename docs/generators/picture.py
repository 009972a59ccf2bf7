"""The life cycle as a picture."""

from caseassist import diagram


def render() -> str:
    return diagram.svg()
