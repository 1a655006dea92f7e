"""The commands that show a run: ``steerio dashboard``, ``steerio report``; and those of ``run``."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import click

from steerio.campaign.progress import tell
from steerio.errors import SteerioError, UsageError
from steerio.model.roles import Role


class Seeing:
    """The showing of a run, as ``--dashboard`` and ``--report`` ask for it.

    Args:
        dashboard: whether to show it as a web page while it goes on.
        report: whether to write its report at the end.

    Raises:
        UsageError: the packages of the dashboard are missing.
    """

    def __init__(self, *, dashboard: bool, report: bool) -> None:
        self._report = report
        self._start: Callable[[Path], None] | None = None
        self._close: Callable[[], None] | None = None
        if dashboard:
            from steerio.dashboard.beside import DashboardBeside  # only if asked for
            from steerio.dashboard.serving import Served

            beside = DashboardBeside(Served(), lambda line: tell(line, sys.stderr))
            self._start, self._close = beside.start, beside.close

    def begin(self, run_dir: Path) -> None:
        """Begin to show the run, whose record has begun."""
        if self._start is not None:
            self._start(run_dir)

    def end(self, run_dir: Path | None) -> None:
        """End the dashboard, and write the report; its failure is told, and is not the run's."""
        if self._close is not None:
            try:
                self._close()
            except Exception as error:  # noqa: BLE001 - the run's own error must not be hidden
                tell(f"the dashboard did not end well: {error!r}", sys.stderr)
        if self._report and run_dir is not None:
            try:
                from steerio.dashboard.report import write_report  # only if asked for

                tell(f"report: {write_report(run_dir)}", sys.stderr)
            except SteerioError as error:
                tell(f"no report: {error}", sys.stderr)
            except Exception as error:  # noqa: BLE001 - as above: the record is there all the same
                tell(f"no report: {error!r}; try steerio report {run_dir}", sys.stderr)


def show_dashboard(
    run_dir: str,
    port: int,
    host: str,
    root_path: str,
    allow_host: tuple[str, ...],
    metrics_key: str | None,
    role: Role,
) -> None:
    """Show a run as a web page until Ctrl-C.

    Args:
        run_dir: its run directory.
        port: the TCP port; 0 for any free one.
        host: the address to listen on.
        root_path: the path that a proxy in front puts before all paths, and leaves there.
        allow_host: further names by which browsers call this server.
        metrics_key: the file to write the key to by which a monitor reads the metrics.
        role: that of the person that has the page.

    Raises:
        UsageError: there is no record, the address cannot be listened on, the file is there or
            cannot be written, or a package is missing.
    """
    from steerio.dashboard.run_follower import watch
    from steerio.dashboard.serving import Served, need_server, serve_until_told

    need_server()
    told = 0

    def say(url: str) -> None:
        nonlocal told
        told += 1
        click.echo(url if told == 1 else f"opened; for another browser: {url}")

    with watch(Path(run_dir)) as watched, _key_in(metrics_key) as key:
        served = Served(host, port, allow_host, root_path, key, role)
        serve_until_told(watched, served, say)


@contextlib.contextmanager
def _key_in(file: str | None) -> Generator[str]:
    """Make a key, which is in a file that only its owner can read while the context lasts."""
    if file is None:
        yield ""
        return
    key, path = secrets.token_urlsafe(32), Path(file)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as fresh:
            fresh.write(key)
    except FileExistsError:
        raise UsageError(
            f"{path} is there already: --metrics-key writes a new key to a new file; name another, "
            "or remove that one if it is of a dashboard that has ended"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    try:
        yield key
    finally:
        with contextlib.suppress(OSError):
            if path.read_bytes() == key.encode():  # and not the key of another that came since
                path.unlink()


def report(run_dir: str, out: str | None) -> None:
    """Write the report of a run.

    Raises:
        UsageError: there is no record, or it cannot be read, or the file not be written.
    """
    from steerio.dashboard.report import write_report

    click.echo(f"wrote {write_report(run_dir, out)}")
