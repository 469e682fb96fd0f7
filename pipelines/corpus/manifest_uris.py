"""Checks uris of a manifest: objects, files below its own folder, addresses of allowed hosts."""

import posixpath
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.corpus.local_files import utf8_uri
from pipelines.storage.addresses import FILE_SCHEME, is_s3, local_path
from pipelines.storage.hosts import DEFAULT_PORTS, is_allowed
from possam_core.errors import ConfigError

OBJECT = r"^s3://[^/]+/(?s:.)"
PAGE = r"^https?://"
# No user, backslash or bracket: programs disagree on the host of such an address.
SERVER = r"^(?P<server>https?://[A-Za-z0-9._-]+(?::[0-9]{1,5})?)(?:[/?#]|$)"
SCHEME = r"^\s*[A-Za-z][A-Za-z0-9+.-]*://"
UNTIDY = r"(^\.{1,2}|/\.{0,2})(/|$)|\x00"  # a name that is empty, "." or ".."


@dataclass(frozen=True, slots=True, kw_only=True)
class UriRules:
    """Makes the uris of one manifest absolute, or refuses them."""

    manifest: str
    allowed_hosts: tuple[str, ...]

    def resolve(self, uris: pa.StringArray, first_row: int) -> pa.StringArray:
        """The same uris with an absolute address for each path.

        Raises:
            ConfigError: one is missing, or names a place that a manifest may not name.
        """
        is_object = _matches(uris, OBJECT)
        if not uris.null_count and pc.all(is_object).as_py():
            return uris
        is_blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(uris), ""), True)
        self._refuse(uris, is_blank, first_row)
        is_page = _matches(uris, PAGE)
        is_path = pc.or_(pc.starts_with(uris, FILE_SCHEME), pc.invert(_matches(uris, SCHEME)))
        self._refuse(uris, pc.invert(pc.or_(pc.or_(is_object, is_page), is_path)), first_row)
        self._require_hosts(uris.filter(is_page))
        return pc.replace_with_mask(uris, is_path, self._files(uris.filter(is_path)))

    def _refuse(self, uris: pa.StringArray, is_wrong: pa.BooleanArray, first_row: int) -> None:
        wrong = pc.index(is_wrong, True).as_py()
        if wrong >= 0:
            raise ConfigError(
                "expected a path, s3://bucket/key or an http(s):// address in column uri of"
                f" {self.manifest}, got {uris[wrong].as_py()!r} in row {first_row + wrong};"
                " correct or remove the row"
            )

    def _require_hosts(self, pages: pa.StringArray) -> None:
        servers = pc.struct_field(pc.extract_regex(pages, SERVER), "server")
        if servers.null_count:
            unclear = pages[pc.index(servers.is_null(), True).as_py()]
            raise ConfigError(
                f"expected web addresses with a plain host name in {self.manifest},"
                f" got {unclear.as_py()!r}; correct or remove the row"
            )
        for server in servers.unique().to_pylist():
            scheme, _, host_and_port = server.partition("://")
            host, _, port = host_and_port.partition(":")
            if not is_allowed(host, int(port or DEFAULT_PORTS[scheme]), self.allowed_hosts):
                raise ConfigError(
                    f"expected only allowed web hosts in {self.manifest}, got {host_and_port!r};"
                    " if its images may be fetched, add it with --allowed-host, or to allowed_hosts"
                    " in the file of settings"
                )

    def _files(self, paths: pa.StringArray) -> pa.StringArray:
        """Absolute addresses of paths, most of them without a loop in Python."""
        folder = posixpath.dirname(self.manifest)
        inside = folder.rstrip("/") + "/"
        is_absolute = pc.starts_with(paths, "/")
        joined = pc.binary_join_element_wise(inside, paths, "")
        files = pc.if_else(is_absolute, paths, joined)
        is_odd = pc.or_(_matches(paths, UNTIDY), pc.invert(pc.starts_with(files, inside)))
        # A folder whose name is not UTF-8 makes every uri below it a quoted one.
        is_quoted = pa.scalar(self.manifest.startswith(FILE_SCHEME))
        is_odd = pc.or_(is_odd, pc.or_(is_quoted, pc.starts_with(paths, FILE_SCHEME)))
        odd = paths.filter(is_odd).to_pylist()
        tidy = [self._tidy(path) for path in odd]
        if None in tidy:
            raise ConfigError(
                f"expected only files below {folder} in {self.manifest}, got"
                f" {odd[tidy.index(None)]!r} ({tidy.count(None)} such uris near it);"
                " move the manifest to a folder that holds them all"
            )
        return pc.replace_with_mask(files, is_odd, pa.array(tidy, pa.string()))

    def _tidy(self, uri: str) -> str | None:
        """The address of one path, without reading the disk; None: not below the manifest."""
        path = local_path(uri)
        assert path is not None
        folder = posixpath.dirname(local_path(self.manifest) or self.manifest)
        if "\0" in path:
            return None
        if not path.startswith("/"):
            path = posixpath.normpath(path)
            is_below = path not in (".", "..") and not path.startswith("../")
            return utf8_uri(posixpath.join(folder, path)) if is_below else None
        path = posixpath.normpath(path)
        folder = posixpath.normpath(folder).rstrip("/")
        is_below = path.startswith(f"{folder}/") and path != f"{folder}/"
        return utf8_uri(path) if is_below and not is_s3(self.manifest) else None


def _matches(texts: pa.StringArray, pattern: str) -> pa.BooleanArray:
    return pc.match_substring_regex(texts, pattern)
