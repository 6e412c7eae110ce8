"""A sheet of paper as one HTML file that needs nothing else: what all that we print share."""

from html import escape
from typing import Final

NARROW: Final = "\N{NARROW NO-BREAK SPACE}"  # what French puts before : ; ! ? and between digits
STYLE: Final = """* { box-sizing: border-box }
body { font: 10pt/1.4 "Noto Sans", "DejaVu Sans", Arial, sans-serif; color: #111; margin: 0 auto;
  max-width: 178mm; padding: 8mm 0 }
p { margin: 0 0 2mm }
code { font: 8pt "DejaVu Sans Mono", monospace; overflow-wrap: anywhere }
@media print { body { padding: 0; max-width: none } }
"""


def sheet(title: str, body: str, *, language: str, style: str) -> str:
    """Return the HTML of a sheet; `body` is markup and `title` is text."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f"<style>{STYLE}{style}</style></head><body>\n{body}\n</body></html>\n"
    )
