import pathlib
import shutil
import tempfile


class StoreFolder:
    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)


def open_folder():
    return StoreFolder(pathlib.Path(tempfile.mkdtemp(prefix="steerio-", dir="/dev/shm")))


def sweep_stale():
    return []
