"""The pictures of the page of a run in the documentation, made anew from runs of the examples.

``python -m tests.docs.pictures`` runs the examples by commands of ``examples/README.md``, opens
their reports in the browser of the tests, and writes ``docs/images``; names behind it choose among
them. The tests draw them from the runs that those commands leave when the examples are tested.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from steerio.dashboard.report import write_report
from tests.real.browsing import DRAWN, browsing, page_of

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs/images"
WIDTH = 1100
MOST_BYTES = 60_000
COLOURS = 192
"""Of a picture: charts have few, and so it is half as long."""
PARTS = ("workers", "queues", "rates", "gantt")
"""The parts of a report that are in a picture if it names no others."""


class Example(NamedTuple):
    """An example, and the part of its report that is shown.

    Attributes:
        script: in ``examples``: a program, or a campaign for ``steerio run``.
        run: the run in the folder that the example is given.
        parts: the sections of the page.
        queues: the choice in its chart of queues.
    """

    script: str
    run: str = ""
    parts: tuple[str, ...] = PARTS
    queues: str = "queued_bins"

    @property
    def command(self) -> list[str]:
        """The command that runs it, but for the folder."""
        how = ["python"] if self.run else ["steerio", "run"]
        return [*how, f"examples/{self.script}", "--quick", "--run-dir"]


ON_BOARDS = "board waiting_bins"
EXAMPLES = {
    "reallocation": Example("reallocation/compare.py", "lending"),
    "molecules": Example("molecules/search.py"),
    "ensemble": Example("ensemble/search.py", parts=("workers", "queues", "rates", "versions")),
    "asktell": Example("asktell/search.py"),
    "multistart": Example("multistart/search.py"),
    "replica": Example("replica/replica.py", parts=("workers", "rates", "notes")),
    "instrument": Example("instrument/control.py"),
    "adaptive": Example("adaptive/search.py"),
    "ionization": Example("ionization/search.py"),
    "training": Example("training/search.py", parts=("workers", "gantt", "versions")),
    "materials": Example("materials/search.py"),
    "protein": Example("protein/search.py", parts=("workers", "notes")),
    "three-ways": Example("simulate/three_ways.py", "RankedQueue-64", queues=ON_BOARDS),
    "once-another-completes": Example("policies/once_another_completes.py"),
    "retrain-after-8": Example("policies/retrain_after_8.py", queues=ON_BOARDS),
    "give-to-inference": Example("policies/give_to_inference.py"),
    "batch-of-n": Example("policies/keeping_busy.py:BatchOfN"),
    "one-for-one": Example("policies/keeping_busy.py:OneForOne"),
    "ranked-queue": Example("policies/keeping_busy.py:RankedQueue", queues=ON_BOARDS),
}
"""By the name of the picture."""


def left_by(commands: str) -> list[str]:
    """Name the pictures that show runs which commands leave in ``runs``."""
    lines = commands.splitlines()
    return [
        name
        for name, example in EXAMPLES.items()
        if " ".join([*example.command, f"runs/{name}"]) in lines
    ]


def take(name: str, folder: Path) -> bytes:
    """Run an example, and return its picture."""
    program, *arguments = EXAMPLES[name].command
    python = [sys.executable] if program == "python" else [sys.executable, "-m", program]
    subprocess.run([*python, *arguments, str(folder)], cwd=ROOT, check=True)
    return drawn(name, folder)


def drawn(name: str, folder: Path) -> bytes:
    """Return the picture of some parts of the report of a run that an example left in a folder."""
    example = EXAMPLES[name]
    report = write_report(folder / example.run, folder / "report.html")
    with browsing() as browser, page_of(browser, report.as_uri(), width=WIDTH) as page:
        page.wait_for_selector(DRAWN)
        page.locator("#queue-choice").select_option(example.queues)
        kept = "".join(f":not(#{part})" for part in example.parts)
        page.add_style_tag(content=f"main > section{kept} {{ display: none }}")
        for part in example.parts:
            page.locator(f"#{part}").scroll_into_view_if_needed()
            for chart in page.locator(f"#{part} .chart").all():
                chart.locator(".main-svg").first.wait_for()
        page.evaluate("scrollTo(0, 0)")
        last = page.locator(f"#{example.parts[-1]}").bounding_box()
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


def main(names: list[str]) -> None:
    """Make pictures: all, or those of some names."""
    IMAGES.mkdir(exist_ok=True)
    for name in names or EXAMPLES:
        with tempfile.TemporaryDirectory(prefix="steerio-pictures-") as folder:
            picture = take(name, Path(folder) / name)
        if len(picture) > MOST_BYTES:
            raise SystemExit(f"the picture {name} has {len(picture)} bytes, over {MOST_BYTES}")
        (IMAGES / f"{name}.png").write_bytes(picture)
        sys.stdout.write(f"{IMAGES / name}.png: {len(picture)} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
