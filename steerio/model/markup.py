"""The parts of which notebooks show steerio's objects: small HTML without scripts or style sheets.

All text is escaped here and nowhere else: a `Markup` is HTML already, and any other value is text.
Colours are those of the page (dark or light), greys that are half transparent, and some with white
text on them.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


class Markup(str):
    """HTML: text in it was escaped."""

    __slots__ = ()


GREEN, RED, AMBER, BLUE, GREY = "#1a7f4b", "#b3261e", "#8a6100", "#1f6feb", "#5f6368"
PALE = "#d0a03c"
"""A colour for bars, which have no text."""
LINE = "rgba(128,128,128,.35)"
BAR_PIXELS = 160
TEXT_CHARACTERS = 20_000
"""Longer texts are cut."""


def escaped(value: object) -> Markup:
    """Return a value as HTML: a `Markup` as it is, anything else as text, escaped and cut."""
    if isinstance(value, Markup):
        return value
    text = str(value)
    if len(text) > TEXT_CHARACTERS:
        text = f"{text[:TEXT_CHARACTERS]} [... {len(text) - TEXT_CHARACTERS} characters more]"
    return Markup(html.escape(text))


def joined(parts: Iterable[object], between: str = "") -> Markup:
    """Return parts one after the other, each escaped; ``between`` is HTML."""
    return Markup(between.join(map(escaped, parts)))


def card(title: object, parts: Iterable[object], beside: object = "") -> Markup:
    """Return a framed box with a title, and parts below it; ``beside`` stands beside the title."""
    return Markup(
        f'<div style="display:inline-block;max-width:100%;border:1px solid {LINE};'
        'border-radius:6px;padding:6px 12px;font-size:13px;line-height:1.5;text-align:left">'
        f'<div><b style="margin-right:8px">{escaped(title)}</b>{escaped(beside)}</div>'
        f"{joined(parts)}</div>"
    )


def badge(text: object, colour: str) -> Markup:
    """Return a word with white letters on a colour."""
    return Markup(
        f'<span style="background:{colour};color:#fff;border-radius:4px;padding:1px 6px;'
        f'font-size:12px;white-space:nowrap">{escaped(text)}</span>'
    )


def quiet(text: object) -> Markup:
    """Return a text that stands back."""
    return Markup(f'<span style="opacity:.7">{escaped(text)}</span>')


def code(text: object) -> Markup:
    """Return a text in letters of one width, with its spaces and line breaks."""
    return Markup(
        '<span style="font-family:monospace;font-size:12px;white-space:pre-wrap;'
        f'overflow-wrap:anywhere">{escaped(text)}</span>'
    )


def folded(summary: object, text: object) -> Markup:
    """Return a long text that opens at a click, by the browser alone."""
    return Markup(
        f'<details><summary style="cursor:pointer">{escaped(summary)}</summary>'
        f'<div style="overflow:auto;max-height:320px">{code(text)}</div></details>'
    )


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table; columns after the first are numbers, and bars."""
    top = ""
    if head:
        cells = [_cell("th", text, number > 0) for number, text in enumerate(head)]
        top = f'<tr style="opacity:.7">{"".join(cells)}</tr>'
    body = "".join(
        f"<tr>{''.join(_cell('td', text, number > 0) for number, text in enumerate(row))}</tr>"
        for row in rows
    )
    return Markup(f'<table style="{_TABLE}">{top}{body}</table>')


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Return names with their values, one a line; those with an empty value are left out."""
    rows = "".join(
        f'<tr><td style="{_CELL}opacity:.7;vertical-align:top">{escaped(name)}</td>'
        f'<td style="{_CELL}">{escaped(value)}</td></tr>'
        for name, value in pairs
        if value != ""
    )
    return Markup(f'<table style="{_TABLE}">{rows}</table>')


def bar(parts: Iterable[tuple[int, str, str]], whole: int) -> Markup:
    """Return a bar of parts, each a count, its colour and its name; the rest of it is grey."""
    shown = [part for part in parts if part[0] > 0]
    pieces = "".join(
        f'<span style="background:{colour};width:{100 * count / max(whole, 1):.4g}%"></span>'
        for count, colour, _ in shown
    )
    told = ", ".join(f"{count} {name}" for count, _, name in shown) or "none"
    return Markup(
        f'<span role="img" aria-label="{escaped(told)}" title="{escaped(told)}" '
        f'style="display:inline-flex;width:{BAR_PIXELS}px;height:10px;border-radius:3px;'
        f'overflow:hidden;background:{LINE};vertical-align:middle">{pieces}</span>'
    )


# by themselves, tables of some pages take neither colour nor size from around them
_TABLE = "border-collapse:collapse;margin:4px 0;color:inherit;font-size:inherit"
_CELL = "padding:1px 14px 1px 0;background:none;border:none;text-align:left;"


def _cell(tag: str, text: object, number: bool) -> str:
    side = "text-align:right;font-variant-numeric:tabular-nums;" if number else ""
    return f'<{tag} style="{_CELL}{side}">{escaped(text)}</{tag}>'
