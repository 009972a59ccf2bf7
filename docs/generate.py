"""Write the generated reference pages: ``python docs/generate.py``.

``--check`` writes nothing, names the pages that are not what would be written, and exits with 1 if there are any.
"""

import sys
from argparse import ArgumentParser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

REFERENCE = Path(__file__).parent / "reference"
HEADER = "<!-- Written by docs/generate.py from the code: do not edit it, edit the code or docs/generators. -->\n\n"
PAGES = {
    "api.md": "api",
    "cli.md": "cli",
    "conversation.md": "conversation",
    "errors.md": "errors",
    "events.md": "events",
    "figures.md": "figures",
    "life-cycle.svg": "picture",
    "records.md": "records",
    "rules.md": "rules",
    "script.md": "script",
    "states.md": "states",
}
"""The generated files, and the modules that write them."""


def main() -> int:
    parser = ArgumentParser(description="Write the generated reference pages.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is not up to date")
    check = parser.parse_args().check
    sys.path.insert(0, str(REFERENCE.parents[1]))
    stale = 0
    for name, module in PAGES.items():
        if find_spec(f"docs.generators.{module}") is None:
            continue
        page = REFERENCE / name
        text = HEADER + import_module(f"docs.generators.{module}").render().rstrip("\n") + "\n"
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"{page.relative_to(REFERENCE.parents[1])} is {'not up to date' if check else 'written'}")
        if not check:
            page.write_text(text, encoding="utf-8")
    if check and stale:
        print("run: python docs/generate.py")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
