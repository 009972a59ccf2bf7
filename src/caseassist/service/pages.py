"""The page on which the stand-in shows a document: plain HTML that can be read without a style sheet, too."""

import html
import re

__all__ = ["markup", "page"]

_STYLE = (
    "body{max-width:42rem;margin:2rem auto;padding:0 1rem;font:1.125rem/1.6 system-ui,sans-serif;color:#1c1c1c;"
    "background:#fff}h1{line-height:1.25}footer{color:#595959;font-size:1rem}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#1c1c1c}footer{color:#b0b0b0}}"
)
_ITEM = re.compile(r"(\d{1,3}\.|-) +(.*)")


def page(title: str, content: str, *, language: str | None = None, source: str = "") -> str:
    """A page. ``content``: HTML already; the others are text."""
    heading = html.escape(title)
    lang = f' lang="{html.escape(language)}"' if language else ""
    footer = f"<footer><p>{html.escape(source)}</p></footer>\n" if source else ""
    return (
        f'<!doctype html>\n<html{lang}>\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{heading}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{heading}</h1>\n{content}\n</main>\n{footer}</body>\n</html>\n"
    )


def markup(text: str) -> str:
    """Paragraphs and lists as HTML; everything else in the text is text."""
    return "\n".join(_block(block.splitlines()) for block in re.split(r"\n\s*\n", text.strip()))


def _block(lines: list[str]) -> str:
    first = _ITEM.match(lines[0].strip())
    if first is None:
        return f"<p>{html.escape(' '.join(line.strip() for line in lines))}</p>"
    items: list[str] = []
    for line in lines:
        if item := _ITEM.match(line.strip()):
            items.append(item[2])
        else:
            items[-1] += f" {line.strip()}"
    kind = "ul" if first[1] == "-" else "ol"
    listed = "".join(f"<li>{html.escape(item)}</li>\n" for item in items)
    return f"<{kind}>\n{listed}</{kind}>"
