"""The life cycle as a picture, drawn from the table: Mermaid text, or SVG."""

from html import escape

from caseassist.core.machine import ACTIVE, ENDS, NEW, SAME, TABLE, Row

__all__ = ["mermaid", "svg"]

# Actions that are possible in every active state are drawn from the box around them, not three times.


def mermaid() -> str:
    """Return the life cycle as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {NEW}"]
    lines += [f"    {source} --> {dest}: {label}" for (source, dest), label in _arrows(inside=False).items()]
    lines += ["    state active {"]
    lines += [f"        {source} --> {dest}: {label}" for (source, dest), label in _arrows(inside=True).items()]
    lines += ["    }"]
    lines += [f"    {end} --> [*]" for end in ENDS]
    return "\n".join(lines) + "\n"


def _arrows(*, inside: bool) -> dict[tuple[str, str], str]:
    """The arrows that run between active states, or the others, each with all its actions."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in TABLE:
        for source, dest in _ends_of(row):
            if (source in ACTIVE and dest in ACTIVE) == inside:
                arrows.setdefault((source, dest), []).append(row.action)
    return {ends: ", ".join(actions) for ends, actions in arrows.items()}


def _ends_of(row: Row) -> list[tuple[str, str]]:
    sources = ("active",) if row.sources == ACTIVE else row.sources
    return [(source, source if row.dest == SAME else row.dest) for source in sources]


# The picture. Its places are fixed by rank: what begins at the left, the active states in a box, the ends at the right.

_WIDTH, _HEIGHT = 1080, 440
_NODE_WIDTH, _NODE_HEIGHT = 104, 44
_BOX = (190, 60, 640, 330)
_STYLE = """
  .node { fill: #fff; stroke: #2b4c7e; stroke-width: 1.5 }
  .end { fill: #e8eef7 }
  .box { fill: #f7f9fc; stroke: #9fb3cf; stroke-dasharray: 5 4 }
  .arrow { fill: none; stroke: #2b4c7e; stroke-width: 1.3 }
  text { font: 13px system-ui, sans-serif; fill: #1b2733; text-anchor: middle }
  .name { font-weight: 600; font-size: 14px }
  .note { fill: #51627a }
"""


def svg() -> str:
    """Return the life cycle as an SVG picture, self-contained."""
    left, top, width, height = _BOX
    y = top + 150
    centres = {NEW: (70, y)}
    centres |= {state: (left + 92 + i * 228, y) for i, state in enumerate(ACTIVE)}
    centres |= {state: (_WIDTH - 80, top + 60 + i * 105) for i, state in enumerate(ENDS)}
    parts = [f'<rect class="box" x="{left}" y="{top}" width="{width}" height="{height}" rx="10"/>']
    inside, outside = _arrows(inside=True), _arrows(inside=False)
    for (source, dest), label in (inside | outside).items():
        if source == dest == "active":
            parts += _text(left + width / 2, top + height - 44, "in every active state, and the state stays:", "note")
            parts += _text(left + width / 2, top + height - 22, label)
        elif source == dest:
            x, _ = centres[source]
            parts += _arrow(f"M{x - 22},{y + 22} C{x - 40},{y + 78} {x + 40},{y + 78} {x + 22},{y + 22}")
            words = label.split(", ")
            parts += _lines(x, y + 84, words)
        elif source == "active" and dest in ACTIVE:
            x, _ = centres[dest]
            parts += _arrow(f"M{x},{top} L{x},{y - _NODE_HEIGHT / 2}")
            parts += _lines(x, top + 40, label.split(", "), background=True)
        elif source == "active":
            x, end = centres[dest]
            parts += _arrow(f"M{left + width},{end} L{x - _NODE_WIDTH / 2},{end}")
            parts += _text((left + width + x - _NODE_WIDTH / 2) / 2 - 4, end - 8, label)
        else:
            (x1, _), (x2, _) = centres[source], centres[dest]
            parts += _arrow(f"M{x1 + _NODE_WIDTH / 2},{y} L{x2 - _NODE_WIDTH / 2},{y}")
            tip: float = left if source == NEW else x2 - _NODE_WIDTH / 2  # the label stays out of the box
            parts += _text((x1 + _NODE_WIDTH / 2 + tip) / 2, y - 8, label)
    for state, (x, at) in centres.items():
        kind = "node end" if state in ENDS else "node"
        parts.append(
            f'<rect class="{kind}" x="{x - _NODE_WIDTH / 2}" y="{at - _NODE_HEIGHT / 2}" '
            f'width="{_NODE_WIDTH}" height="{_NODE_HEIGHT}" rx="22"/>'
        )
        parts += _text(x, at + 5, state, "name")
    parts += _text(left + 40, top + 22, "active", "note")
    body = "\n".join(f"  {part}" for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(_sentence())}">\n'
        f"  <style>{_STYLE}</style>\n"
        '  <defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path d="M0,0 L10,5 L0,10 z" fill="#2b4c7e"/></marker></defs>\n'
        f'  <rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _sentence() -> str:
    """The picture in words, for those who cannot see it."""
    arrows = _arrows(inside=False) | _arrows(inside=True)
    return "The life cycle of a session. " + "; ".join(
        f"from {source} to {dest} by {label}" for (source, dest), label in arrows.items()
    )


def _arrow(path: str) -> list[str]:
    return [f'<path class="arrow" d="{path}" marker-end="url(#tip)"/>']


def _text(x: float, y: float, text: str, kind: str = "") -> list[str]:
    return [f'<text x="{x:g}" y="{y:g}"{f" class={kind!r}" if kind else ""}>{escape(text)}</text>']


def _lines(x: float, y: float, texts: list[str], *, background: bool = False) -> list[str]:
    parts: list[str] = []
    for i, text in enumerate(texts):
        if background:
            parts.append(
                f'<rect x="{x - 4 * len(text)}" y="{y + 18 * i - 13}" width="{8 * len(text)}" height="18" '
                'fill="#f7f9fc"/>'
            )
        parts += _text(x, y + 18 * i, text)
    return parts
