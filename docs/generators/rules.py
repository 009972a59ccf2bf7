"""Makes docs/reference/rules.md of docs/reference/rules.toml and tests/data/rules.json."""

import json
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

DOCUMENTS = {
    "3437": "Log case assist events",
    "2064": "Log click events",
    "2650": "Log custom events",
}
HOW = {"enforced": "enforced", "construction": "by construction", "elsewhere": "not ours"}

INTRO = """\
# Rules

Coveo's documents say how Case Assist, click and custom events must look. We read them sentence by sentence and wrote
down {total} rules, in our own words. This page lists every one of them, and what caseassist does about it:

* **enforced** ({enforced}): a value that breaks the rule is refused with a typed error, before anything is recorded or
  sent. The error's `rule` is the id in the first column, unless another id is named.
* **by construction** ({construction}): there is no way to break the rule with our API. What is sent keeps it.
* **not ours** ({elsewhere}): the service keeps the rule, or it is advice, or it speaks of something that we do not see.

Every line is tested. Where the documents contradict each other, or themselves, the last column names the place in
[where the documents conflict](../explanation/conflicts.md).
"""


def render() -> str:
    """Return the page."""
    rules: list[dict[str, Any]] = json.loads((ROOT / "tests/data/rules.json").read_text(encoding="utf-8"))
    table = tomllib.loads((ROOT / "docs/reference/rules.toml").read_text(encoding="utf-8"))
    counts = {how: len(table[how]) for how in HOW}
    lines = [INTRO.format(total=len(rules), **counts)]
    for document, title in DOCUMENTS.items():
        lines.append(f"## {document}: {title}\n")
        lines.append("| id | of | field | the rule | what we do | conflict |")
        lines.append("| --- | --- | --- | --- | --- | --- |")
        lines += [_row(rule, table) for rule in rules if rule["doc"] == document]
        lines.append("")
    return "\n".join(lines)


def _row(rule: dict[str, Any], table: dict[str, dict[str, str]]) -> str:
    rule_id = rule["id"]
    how = next(how for how in HOW if rule_id in table[how])
    told = f"**{HOW[how]}**"
    if named := table["reported"].get(rule_id):
        told += f" as {named}"
    if note := table[how][rule_id]:
        told += f": {note}"
    field = f"`{rule['field']}`" if rule["field"] else ""
    cells = (f"`{rule_id}`", rule["event"], field, rule["statement"], told, rule["conflict"] or "")
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """Text that stays inside its cell and is no markup where it means none."""
    text = " ".join(text.split()).replace("|", "\\|")
    return text if "`" in text else text.replace("<", "&lt;").replace("*", "*" if "**" in text else "\\*")
