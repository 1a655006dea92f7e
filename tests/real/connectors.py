"""A connector as a user may write one, and one that is fatal at times."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from proxystore.connectors.file import FileConnector, FileKey


class FatalConnector(FileConnector):
    """Kills its process when it has put an object, if there is a certain file, and removes that.

    So whoever waits to hear of the object never does.
    """

    def __init__(self, store_dir: str, mark: str, clear: bool = False) -> None:
        super().__init__(store_dir, clear=clear)
        self._mark = Path(mark)

    def set(self, key: FileKey, obj: Any) -> None:
        super().set(key, obj)
        if self._mark.exists():
            self._mark.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
