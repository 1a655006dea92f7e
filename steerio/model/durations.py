"""Lengths of time in words for people: measured ones to three digits, estimates in whole units."""

from __future__ import annotations


def say_s(seconds: float) -> str:
    """Return a measured time: ``350 us``, ``2.5 s``, ``12.4 min``, ``3.1 h``."""
    if abs(seconds) < 1e-3:
        return f"{seconds * 1e6:.3g} us" if seconds else "0 s"
    if abs(seconds) < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"


def spoken(seconds: float) -> str:
    """Return a time in the unit that fits it: ``40 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"
