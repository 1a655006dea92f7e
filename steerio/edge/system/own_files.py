"""Small files of this user that other processes find by path: written whole, read with care.

A user who can write such a file decides where its readers connect to and which code they run. So
the writer makes a fresh file that only its owner can read, and renames it; the reader reads a file
only if it is no link, belongs to the reader or to root, and others cannot have written it. One that
has keys is read only if others cannot read it either: keys that others may have are no keys.

Their JSON may have any text: names of folders and files need not be UTF-8.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import stat
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from steerio.errors import UsageError

T = TypeVar("T")


def to_json(value: Any, enc_hook: Callable[[Any], Any] | None = None, *, indent: int = 0) -> bytes:
    """Return a value as JSON, even if UTF-8 has no form for its text."""
    try:
        text = msgspec.json.encode(value, enc_hook=enc_hook)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, enc_hook=enc_hook)
        return json.dumps(plain, indent=indent or None).encode()
    return msgspec.json.format(text, indent=indent) if indent else text


def from_json(data: bytes, kind: type[T]) -> T:
    """Return the value that `to_json` was given.

    Raises:
        msgspec.DecodeError: it is not JSON, or of another kind.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, UnicodeDecodeError) or b"\\ud" not in data:
            raise msgspec.DecodeError(str(error)) from None
    try:
        return msgspec.convert(json.loads(data), kind)
    except (ValueError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def write_own(path: Path, data: bytes) -> None:
    """Write a file at once and whole, readable by its owner alone.

    Raises:
        OSError: it cannot be written; an earlier file is left as it was.
    """
    fresh = path.with_name(f".{path.name.lstrip('.')}.{os.urandom(4).hex()}")
    # exclusively: an earlier file may be open to others, or lead elsewhere
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def rewriting(path: Path, lock: int, read: Callable[[], T]) -> Generator[T]:
    """Give the value of a file to change, which is written if all goes well.

    Args:
        path: of the file, which has the value as JSON.
        lock: a descriptor of its lock file, held meanwhile and closed: one process at a time.
        read: returns the value.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        value = read()
        yield value
        try:
            write_own(path, to_json(value, indent=1))
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        os.close(lock)


def open_lock(path: Path) -> int:
    """Open a lock file, which is made if there is none; return its descriptor.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def read_own(path: Path, *, secret: bool = False) -> tuple[bytes, os.stat_result]:
    """Return the content of a file, and its status.

    Args:
        path: of the file.
        secret: whether it has keys, which only its owner may read.

    Raises:
        FileNotFoundError: there is none.
        UsageError: it is a link or no file, or belongs to another user, or others can write it, or
            read it though it is secret.
        OSError: it cannot be read.
    """
    if path.is_symlink():
        raise UsageError(f"{path} is a link, which is not followed: name the folder it leads to")
    # without waiting for a writer, if the name is that of a pipe
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        found = os.fstat(descriptor)
        _check_owner(path, found)
        if secret:
            _check_secret(path, found)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(), found
    finally:
        os.close(descriptor)


def _check_owner(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is not a file")
    if found.st_uid not in (os.getuid(), 0):
        raise UsageError(
            f"{path} belongs to {_user(found.st_uid)}, and its writer decides what is run "
            f"here: only files of {_user(os.getuid())} or root are read"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"others than its owner can write {path}, and with it decide what is run here: look "
            "into it, and take that right from them (chmod go-w)"
        )


def _check_secret(path: Path, found: os.stat_result) -> None:
    """Refuse keys that others may have read, also by an access list (the group's bits show it)."""
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"{path} has keys, and others than its owner can read it (mode "
            f"{stat.S_IMODE(found.st_mode):04o}): take that right from them (chmod 600 {path}), "
            "and if they may have used it, have other keys made (revoke this one, or start the "
            "broker again)"
        )


def make_own_folder(path: Path) -> None:
    """Make a folder that only its owner may look into; one that is there is left as it is.

    Folders above it get the usual modes.

    Raises:
        OSError: it cannot be made, or a file is in its place.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextlib.contextmanager
def writing_to(run_dir: Path | None) -> Generator[None, None, None]:
    """Turn an error of the operating system in writing there into one in words.

    Raises:
        UsageError: there was one.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        if isinstance(error, FileExistsError):
            reason = "a file is in its place"
        raise UsageError(f"cannot write to the run directory {run_dir}: {reason}") from None


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
