"""The corpus: which images there are, and what tells a changed one from the planned one."""

import hashlib
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes

import fsspec
from botocore.exceptions import BotoCoreError, ClientError

from pipelines.store import is_s3, split_s3
from possam_core.errors import ConfigError

logger = logging.getLogger(__name__)

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
WILDCARDS = "*?["
FILE_SCHEME = "file://"
HASH_THREADS = 8
CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class InputImage:
    """One image of the corpus, identified by where it is and what it holds."""

    image_id: str  # from uri and content; the same wherever the corpus is copied to
    uri: str  # absolute path or s3://bucket/key; file://... for names that are not UTF-8
    size: int  # in bytes
    etag: str  # S3's, or `local_etag` of a local file; empty: could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A listed file whose content is not identified yet."""

    uri: str
    relative_uri: str  # to the root of the corpus
    size: int
    etag: str | None  # None: hash the content


def find_images(images: str) -> list[FoundFile]:
    """List the images under a folder, a glob or an `s3://` prefix, sorted by uri.

    Locally only regular files count: links are skipped, so a listing neither loops nor leaves the
    corpus.

    Raises:
        ConfigError: there is no such place, it cannot be read, or it holds no image.
    """
    found = sorted(_find_s3(images) if is_s3(images) else _find_local(images), key=lambda f: f.uri)
    if not found:
        raise ConfigError(
            f"expected images ({' '.join(EXTENSIONS)}) in {images}, found none; check the address"
        )
    return found


def require_corpus(images: str) -> None:
    """Return only if the folder of a local corpus exists: else every image would seem gone.

    Raises:
        ConfigError: it does not.
    """
    if not is_s3(images):
        _root(Path(images))


def identify(files: list[FoundFile]) -> list[InputImage]:
    """Give each file its identity; local files are read once for it."""
    with ThreadPoolExecutor(HASH_THREADS) as pool:
        return list(pool.map(_identify, files))


def local_path(uri: str) -> str | None:
    """The path behind a local uri, fit for `open`; None for a remote one."""
    if is_s3(uri):
        return None
    if uri.startswith(FILE_SCHEME):
        return os.fsdecode(unquote_to_bytes(uri.removeprefix(FILE_SCHEME)))
    return uri


def local_etag(stream: BinaryIO) -> str:
    """Identity of the bytes of a local file."""
    digest = hashlib.blake2b(digest_size=16)
    while chunk := stream.read(CHUNK_BYTES):
        digest.update(chunk)
    return f"blake2b-{digest.hexdigest()}"


def _identify(file: FoundFile) -> InputImage:
    size, etag = file.size, file.etag
    if etag is None:
        try:
            path = local_path(file.uri)
            assert path is not None
            with Path(path).open("rb") as stream:
                etag, size = local_etag(stream), stream.tell()
        except OSError:
            etag = ""  # gone already, or not ours to read; its row will say so
    identity = f"{file.relative_uri}\n{etag}".encode()
    image_id = hashlib.blake2b(identity, digest_size=16).hexdigest()
    return InputImage(image_id=image_id, uri=file.uri, size=size, etag=etag)


def _find_local(images: str) -> Iterator[FoundFile]:
    root, wanted = _root_and_wanted(Path(images))
    try:
        for path, size in _walk(root):
            if wanted is None or path in wanted:
                yield FoundFile(
                    uri=_utf8_uri(str(path)),
                    relative_uri=_utf8_uri(str(path.relative_to(root))),
                    size=size,
                    etag=None,
                )
    except OSError as error:
        raise ConfigError(
            f"expected a readable folder at {images}, but listing it failed ({error});"
            " check its permissions"
        ) from error


def _root_and_wanted(images: Path) -> tuple[Path, set[Path] | None]:
    """The folder to walk and, for a file or a glob, which files of it are meant."""
    root = _root(images)
    if root == images:
        return root, None
    if images.is_file():
        return root, {images}
    return root, set(root.glob(str(images.relative_to(root))))


def _root(images: Path) -> Path:
    """The folder itself, the folder of a file, or what precedes the wildcards of a glob."""
    if images.is_dir():
        return images
    if images.is_file():
        return images.parent
    parts = images.parts
    wild = next((i for i, part in enumerate(parts) if set(part) & set(WILDCARDS)), None)
    if wild is None or not (root := Path(*parts[:wild])).is_dir():
        raise ConfigError(
            f"expected a folder, a glob or an s3:// prefix of images, but {images} does not"
            " exist; check the path"
        )
    return root


def _walk(folder: Path) -> Iterator[tuple[Path, int]]:
    """Path and size of each regular image file below `folder`; links are not followed."""
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif entry.name.lower().endswith(EXTENSIONS):
                    if entry.is_file(follow_symlinks=False):
                        yield Path(entry.path), entry.stat(follow_symlinks=False).st_size
                    else:
                        logger.warning("skipped %s: not a regular file", entry.path)


def _utf8_uri(path: str) -> str:
    """`path` itself, or as a file:// uri where its name is not UTF-8, which no column can hold."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return FILE_SCHEME + quote(os.fsencode(path))
    return path


def _find_s3(images: str) -> Iterator[FoundFile]:
    filesystem = fsspec.filesystem("s3")
    filesystem.invalidate_cache()
    is_glob = bool(set(images) & set(WILDCARDS))
    try:
        if is_glob:
            listing = filesystem.glob(images, detail=True)
        else:
            listing = filesystem.find(images, detail=True)
    except (BotoCoreError, ClientError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"expected a readable prefix at {images}, but listing it failed ({reason});"
            " check the address, AWS_ENDPOINT_URL and the credentials"
        ) from error
    bucket, _ = split_s3(images)
    for info in listing.values():
        name = info["name"]
        if info["type"] == "file" and name.lower().endswith(EXTENSIONS):
            yield FoundFile(
                uri=f"s3://{name}",
                relative_uri=name.removeprefix(f"{bucket}/"),
                size=info["size"],
                etag=info["ETag"].strip('"'),
            )
