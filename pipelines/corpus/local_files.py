"""Lists local files in the order of their uris, with one folder in memory at a time."""

import logging
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_ISREG
from urllib.parse import quote

from pipelines.corpus.found_image import FoundImage
from pipelines.corpus.glob_pattern import WILDCARDS, GlobPattern
from pipelines.storage.addresses import FILE_SCHEME
from possam_core.errors import ConfigError

logger = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def list_local(images: str, endings: tuple[str, ...]) -> Iterator[FoundImage]:
    """The regular files of these endings in a folder or a glob, or a single file.

    Links are skipped, so a listing neither loops nor leaves the corpus.

    Raises:
        ConfigError: the address does not exist or cannot be read.
    """
    root = corpus_root(images)
    inner = images.removeprefix(root).removeprefix("/")
    try:
        if inner and Path(images).is_file():
            paths = iter([images] if images.lower().endswith(endings) else [])
        else:
            pattern = GlobPattern(inner) if inner else None
            paths = _Walk(root=root, endings=endings, pattern=pattern).paths()
        for path in paths:
            if stat := _regular_file(path):
                yield FoundImage(
                    uri=utf8_uri(path),
                    relative_uri=utf8_uri(path.removeprefix(root).removeprefix("/")),
                    size=stat.st_size,
                    etag=None,
                    modified=_time(stat.st_mtime_ns),
                )
    except OSError as error:
        raise _unreadable(images, error) from error


def corpus_root(images: str) -> str:
    """The folder itself, the folder of a file, or the folder before the wildcards of a glob.

    Raises:
        ConfigError: it does not exist.
    """
    path = Path(images)
    try:
        if path.is_dir():
            return images
        if path.is_file():
            return str(path.parent)
        wild = next((i for i, part in enumerate(path.parts) if set(part) & set(WILDCARDS)), None)
        if wild is not None and (root := Path(*path.parts[:wild])).is_dir():
            return str(root)
    except OSError as error:
        raise _unreadable(images, error) from error
    raise ConfigError(
        f"expected a folder, a file, a glob or an s3:// address, but {images} does not exist;"
        " check the path"
    )


def utf8_uri(path: str) -> str:
    """`path` itself, or a file:// uri if its name is not UTF-8, which no column can hold."""
    return path if _is_utf8(path) else FILE_SCHEME + quote(os.fsencode(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """Finds the files of some endings below a folder."""

    root: str
    endings: tuple[str, ...]
    pattern: GlobPattern | None  # of paths relative to `root`

    def paths(self) -> Iterator[str]:
        """Paths in the order of their uris: file:// sorts after every path."""
        has_others = yield from self._descend(in_utf8=True)
        if has_others:
            yield from self._descend(in_utf8=False)

    def _descend(self, *, in_utf8: bool) -> Generator[str, None, bool]:
        """The paths that are UTF-8, or those that are not; returns whether it left out others."""
        has_others = not _is_utf8(self.root)
        pending = [(self.root, iter(self._names(self.root, in_utf8)))]
        while pending:
            folder, names = pending[-1]
            name = next(names, None)
            if name is None:
                pending.pop()
                continue
            path = str(Path(folder, name))
            if _is_utf8(path) != in_utf8 and (in_utf8 or not name.endswith("/")):
                has_others = True
            elif name.endswith("/"):
                pending.append((path, iter(self._names(path, in_utf8))))
            else:
                yield path
        return has_others

    def _names(self, folder: str, in_utf8: bool) -> list[str]:
        """The names in `folder` that may match, in the order of uris; folders end in "/"."""
        names = []
        with os.scandir(folder) as entries:
            for entry in entries:
                inner = entry.path.removeprefix(self.root).removeprefix("/")
                if entry.is_dir(follow_symlinks=False):
                    if self.pattern is None or self.pattern.may_hold(inner):
                        names.append(f"{entry.name}/")
                elif entry.name.lower().endswith(self.endings) and (
                    self.pattern is None or self.pattern.matches(inner)
                ):
                    names.append(entry.name)
        return sorted(names, key=None if in_utf8 else lambda name: quote(os.fsencode(name)))


def _regular_file(path: str) -> os.stat_result | None:
    try:
        stat = Path(path).lstat()
    except FileNotFoundError:
        return None  # removed since its folder was read
    if S_ISREG(stat.st_mode):
        return stat
    logger.warning("skipped %s: not a regular file", utf8_uri(path))
    return None


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _time(nanoseconds: int) -> datetime | None:
    try:
        return EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return None  # a year outside the calendar


def _unreadable(images: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"expected a readable folder at {images}, but listing it failed ({error});"
        " check its permissions"
    )
