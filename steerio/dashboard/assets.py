"""The files of the page, as they lie in this package, and the script of plotly, if that is here."""

from __future__ import annotations

import functools
import gzip
import importlib.metadata
import importlib.util
from importlib import resources
from pathlib import Path

PAGE = "index.html"
STYLE = "style.css"
SCRIPTS = (
    "format.js",
    "plain_chart.js",
    "charts.js",
    "gantt.js",
    "tables.js",
    "curves.js",
    "story.js",
    "steer.js",
    "page.js",
)
"""In the order in which the page loads them: a later one uses those before it."""
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
LEVEL = 6
"""Of gzip, which makes a third of plotly's script, once in the life of a server."""


@functools.cache
def page_file(name: str) -> bytes:
    """Return one of the files of the page."""
    return resources.files("steerio.dashboard").joinpath("page", name).read_bytes()


def plotly_script() -> Path | None:
    """Return the script that the package plotly brings, which is not imported for that.

    ``None`` if it is not installed.
    """
    try:
        found = importlib.util.find_spec("plotly")
    except (ImportError, ValueError):
        return None
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        script = Path(folder) / "package_data" / "plotly.min.js"
        if script.is_file():
            return script
    return None


def plotly_version() -> str:
    """Return the version of the package plotly; empty if it is not installed."""
    try:
        return importlib.metadata.version("plotly")
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def zipped(script: Path) -> bytes:
    """Return a script as browsers take it in a third of the bytes."""
    return gzip.compress(script.read_bytes(), LEVEL, mtime=0)
