"""The pictures of the page of a run in the documentation, made anew from runs of two examples.

``python -m tests.docs.pictures`` runs both examples in their short mode, opens their reports in the
browser of the tests, and writes ``docs/images``.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from steerio.dashboard.report import write_report
from tests.real.browsing import DRAWN, browsing, page_of

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs/images"
WIDTH = 1100
MOST_BYTES = 150_000
COLOURS = 192
"""Of a picture: charts have few, and so it is half as long."""
EXAMPLES = {
    "reallocation": (
        ["examples/reallocation/compare.py", "--quick", "--run-dir"],
        "lending",
        ["#figures", "#workers", "#queues", "#gantt"],
    ),
    "molecules": (
        ["-m", "steerio", "run", "examples/molecules/search.py", "--quick", "--run-dir"],
        "",
        ["#figures", "#workers", "#queues", "#gantt"],
    ),
}
"""By the name of the picture: the command, the run in its folder, and the first and last part."""


def take(name: str, folder: Path) -> bytes:
    """Run an example, and return the picture of the first parts of its report."""
    command, run, parts = EXAMPLES[name]
    subprocess.run([sys.executable, *command, str(folder)], cwd=ROOT, check=True)
    report = write_report(folder / run, folder / "report.html")
    with browsing() as browser, page_of(browser, report.as_uri(), width=WIDTH) as page:
        page.wait_for_selector(DRAWN)
        for part in parts:
            page.locator(part).scroll_into_view_if_needed()
        for chart in ("#workers-chart", "#queue-chart", "#rate-chart"):
            page.locator(chart).scroll_into_view_if_needed()
            page.wait_for_selector(f"{chart} .main-svg")
        page.evaluate("scrollTo(0, 0)")
        last = page.locator(parts[-1]).bounding_box()
        assert last is not None
        tall = int(last["y"] + last["height"]) + 12
        page.set_viewport_size({"width": WIDTH, "height": tall})
        page.mouse.move(0, 0)
        return smaller(page.screenshot())


def smaller(picture: bytes) -> bytes:
    """Return a picture with fewer colours, if it is too long for the documentation otherwise."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as opened, io.BytesIO() as written:
        opened.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
            written, "PNG", optimize=True
        )
        return written.getvalue()


def main() -> None:
    """Make all pictures."""
    IMAGES.mkdir(exist_ok=True)
    for name in EXAMPLES:
        with tempfile.TemporaryDirectory(prefix="steerio-pictures-") as folder:
            picture = take(name, Path(folder) / name)
        if len(picture) > MOST_BYTES:
            raise SystemExit(f"the picture {name} has {len(picture)} bytes, over {MOST_BYTES}")
        (IMAGES / f"{name}.png").write_bytes(picture)
        sys.stdout.write(f"{IMAGES / name}.png: {len(picture)} bytes\n")


if __name__ == "__main__":
    main()
