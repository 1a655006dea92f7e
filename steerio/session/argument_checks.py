"""Checks of the arguments by which sessions are opened and campaigns are run.

A wrong type would otherwise come up far from the call: in a node, or once the campaign runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from steerio.errors import UsageError
from steerio.model.objects import StoreSetting
from steerio.model.settings import Settings
from steerio.model.showing import short
from steerio.session.session import Session

Folders = Iterable[Path | str] | Path | str
"""The folders of several runs, or of one."""
KINDS: dict[str, tuple[Any, str]] = {
    "run_dir": ((str, os.PathLike), "the path of a folder"),
    "resume": ((str, os.PathLike), "the path of a folder"),
    "session": (Session, "an open session, as from steerio.open_session or steerio.connect"),
    "settings": (Settings, "a steerio.Settings, like Settings(lease_s=60)"),
    "store": (StoreSetting, 'a steerio.StoreSetting, like StoreSetting(kind="file")'),
}
"""The types of arguments by name, also in words; each may be ``None``, for the default."""


def check_given(**given: object) -> None:
    """Refuse arguments of a wrong type.

    Raises:
        UsageError: one is; the message names it.
    """
    for name, value in given.items():
        check_kind(name, value, *KINDS[name])


def check_kind(name: str, value: object, kind: Any, said: str) -> None:
    """Refuse an argument of a wrong type; ``None`` is right.

    Args:
        name: of the argument.
        value: its value.
        kind: the class, or several, of which it must be.
        said: the same in words.

    Raises:
        UsageError: it is of another type.
    """
    if value is not None and not isinstance(value, kind):
        raise UsageError(f"{name} is {said}, not {short(value)}")


def check_pin(pin: object) -> None:
    """Refuse a ``pin`` that neither asks for pinning nor against it.

    Raises:
        UsageError: it does neither.
    """
    if not isinstance(pin, bool):
        raise UsageError(f"pin is True or False, not {short(pin)}")


def named_folders(memo: object) -> list[Path]:
    """Return the folders of earlier runs.

    Raises:
        UsageError: they are no paths.
    """
    several: Any = memo
    if isinstance(several, (str, os.PathLike)):
        several = [several]
    if isinstance(several, Iterable):
        folders: list[Any] = [*several]
        if all(each != "" and isinstance(each, (str, os.PathLike)) for each in folders):
            return [Path(each) for each in folders]
    raise UsageError(f'memo is a list of run directories, like ["runs/one"], not {short(memo)}')


def named_modules(preload: Any) -> list[str]:
    """Return the names of modules to preload.

    Raises:
        UsageError: they are no names; a text alone would be many names of one letter.
    """
    if isinstance(preload, Iterable) and not isinstance(preload, str):
        modules: list[Any] = list(preload)  # pyright: ignore[reportUnknownArgumentType]
        if all(isinstance(module, str) for module in modules):
            return modules
    raise UsageError(f'preload is a list of names of modules, like ["numpy"], not {short(preload)}')
