"""What to do about a disk that cannot be written: full, read-only, or not ours."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from selfdistill.errors import UserError

REMEDIES = {
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "your quota on this disk is used up: make room",
    errno.EROFS: "the file system is read-only: mount it so that it can be written, or move the checkout",
    errno.EACCES: "this user may not do that: change the permissions of the file and its folder",
    errno.EPERM: "this user may not do that: change the permissions of the file and its folder",
}
# torch's message for a short write; it does not mention a full disk.
TORCH_WRITER = ("unexpected pos", "PytorchStreamWriter failed")


def remedy(error: BaseException) -> str | None:
    """A sentence about an error of the disk, with what to do; None for any other error."""
    code = _code(error)
    if code is None:
        return None
    told = " ".join(str(error).split())
    return f"{told}; {REMEDIES[code]}, then run the same command again: what is finished is kept"


def _code(error: BaseException) -> int | None:
    """The error number; libraries beneath Python's own files tell it in words."""
    told = str(error)
    if isinstance(error, OSError) and error.errno in REMEDIES:
        return error.errno
    if named := [code for code in REMEDIES if os.strerror(code) in told]:
        return named[0]
    return errno.ENOSPC if any(words in told for words in TORCH_WRITER) else None


def require_writable(paths: Iterable[str | Path]) -> None:
    """Raises `UserError` with a remedy where a file, or the folder that it would be made in, cannot be written.

    Also where a file or a broken link stands in the place of such a folder.
    """
    for place in dict.fromkeys(existing_folder(Path(path)) for path in paths):
        if not os.access(place, os.W_OK):
            code = errno.EROFS if os.statvfs(place).f_flag & os.ST_RDONLY else errno.EACCES
            raise UserError(str(remedy(OSError(code, os.strerror(code), str(place)))))


def existing_folder(path: Path) -> Path:
    """The folder in which ``path`` lies, or would be made; `UserError` where a file or a broken link is in its way."""
    place = next(folder for folder in path.absolute().parents if folder.exists() or folder.is_symlink())
    if not place.exists():
        raise UserError(f"{place}: a link to {place.readlink()}, which is not there, where a folder is expected")
    if not place.is_dir():
        raise UserError(f"{place}: a file, where a folder is expected")
    return place
