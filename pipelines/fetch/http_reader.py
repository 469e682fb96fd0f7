"""Reads images at http(s) addresses, from allowed hosts on the public internet only.

A manifest from others could otherwise make the cluster send requests into its own network, such as
to the address that serves cloud credentials. So each name is resolved once, every answer must be
public, and the connection goes to one of these answers. Proxies of the environment are not used:
they would resolve the name again.
"""

import http.client
import logging
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NewConnectionError,
    SSLError,
)
from urllib3.util import parse_url

from pipelines.corpus.image import InputImage
from pipelines.storage.hosts import DEFAULT_PORTS, host_spelling, is_allowed
from pipelines.storage.retry import Patience, retry
from possam_core.errors import one_line
from possam_core.images.decode import MAX_BYTES, ImageError, ImageErrorCode

logger = logging.getLogger(__name__)

PATIENCE = Patience(tries=3, first_pause_s=0.5)
MAX_REDIRECTS = 3
TIMEOUT = Timeout(connect=5.0, read=30.0)  # read: between two packets
BODY_TIMEOUT_S = 300.0  # in total, for servers that send slowly
CHUNK_BYTES = 2**16
CONNECTIONS_KEPT = 16  # for each server

REDIRECTS = (301, 302, 303, 307, 308)
TRANSIENT = (408, 425, 429)  # and 5xx
UNKNOWN_NAME = (socket.EAI_NONAME, socket.EAI_NODATA)

Address = IPv4Address | IPv6Address

# Not public, although `ipaddress` of some Python releases calls them global.
NOT_PUBLIC_V4 = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments; a cloud's metadata server is there
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv4Network("168.63.129.16/32"),  # a cloud's host services
)
PUBLIC_V6 = IPv6Network("2000::/3")  # all that is allocated for unicast
DOCUMENTATION_V6 = IPv6Network("3fff::/20")
NAT64 = IPv6Network("64:ff9b::/96")


def is_public_address(address: Address) -> bool:
    """Whether `address` is public: the same machine from everywhere on the internet."""
    if isinstance(address, IPv6Address):
        inner = _inner_v4(address)
        if inner is not None:
            return is_public_address(inner)
        if address not in PUBLIC_V6 or address in DOCUMENTATION_V6:
            return False
    elif any(address in network for network in NOT_PUBLIC_V4):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner_v4(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which packets to `address` are translated; None: none."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """A parsed web address."""

    scheme: str
    host: str  # ASCII, without brackets or a last dot
    port: int
    path: str  # with the query

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class HttpReader:
    """Reads images one at a time; safe to call from many threads."""

    def __init__(
        self,
        allowed_hosts: Sequence[str],
        *,
        is_public: Callable[[Address], bool] = is_public_address,
    ) -> None:
        """Read only from `allowed_hosts` (see `is_allowed`), at addresses that `is_public`."""
        self._allowed_hosts = tuple(allowed_hosts)
        self._is_public = is_public
        self._pools = PoolManager(
            num_pools=64, maxsize=CONNECTIONS_KEPT, ssl_context=ssl.create_default_context()
        )

    def read(self, image: InputImage) -> bytes:
        """The bytes at an http(s) address.

        Raises:
            ImageError: they are missing, changed, unfit or not allowed; a retry cannot help.
            ConnectionError: the server failed, and the retries did not help.
        """
        if image.size is not None and image.size > MAX_BYTES:
            raise _too_large(image.size)
        where = image.uri.partition("?")[0]  # queries hold secrets
        try:
            return retry(
                lambda: self._read_once(image),
                PATIENCE,
                is_transient=lambda error: isinstance(error, (HTTPError, OSError)),
                what=f"reading {where}",
            )
        except (HTTPError, OSError) as error:
            if isinstance(error.__cause__, http.client.IncompleteRead):
                message = f"the server sends less than it announces, {PATIENCE.tries} times"
                raise ImageError(ImageErrorCode.CORRUPT_READ, message) from error
            raise ConnectionError(f"{where}: {one_line(error)}") from error

    def _read_once(self, image: InputImage) -> bytes:
        url = image.uri
        for _ in range(MAX_REDIRECTS + 1):
            target = self._checked(url)
            with self._ask(target) as reply:
                location = reply.headers.get("Location")
                if reply.status not in REDIRECTS or location is None:
                    _refuse_status(reply.status, target)
                    return _body(reply, image)
            try:
                url = urljoin(url, location)
            except ValueError as error:
                raise _bad_key(f"a redirect to no address: {one_line(error)}") from error
        raise ImageError(ImageErrorCode.NOT_FOUND, f"more than {MAX_REDIRECTS} redirects")

    def _checked(self, url: str) -> _Target:
        try:
            parts = parse_url(url)
        except LocationParseError as error:
            raise _bad_key(one_line(error)) from error
        has_user = parts.auth is not None or "\\" in url  # to some, a\@b is the host b
        if parts.scheme not in DEFAULT_PORTS or not parts.host or has_user:
            raise _bad_key("expected http(s)://host/path without a user name or a backslash")
        host = host_spelling(parts.host)
        port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
        target = _Target(scheme=parts.scheme, host=host, port=port, path=parts.request_uri)
        if not is_allowed(host, port, self._allowed_hosts):
            raise _bad_key(
                f"{target.host_header} is none of the allowed hosts; add it to them to read from it"
            )
        return target

    def _resolve(self, target: _Target) -> list[Address]:
        """All addresses of the host, each of them public."""
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno not in UNKNOWN_NAME:
                raise
            message = f"there is no host {target.host}"
            raise ImageError(ImageErrorCode.NOT_FOUND, message) from error
        except ValueError as error:  # a label that is empty or too long
            raise _bad_key(f"{target.host} is no host name: {one_line(error)}") from error
        addresses = [ip_address(socket_address[0]) for *_, socket_address in found]
        if not all(map(self._is_public, addresses)):
            raise _bad_key(f"{target.host} resolves to a private address")
        return addresses

    def _ask(self, target: _Target) -> BaseHTTPResponse:
        """The reply of the first of the host's addresses that answers; its body is not read."""
        *addresses, last = self._resolve(target)
        for address in addresses:
            try:
                return self._ask_at(address, target)
            except (NewConnectionError, ConnectTimeoutError):
                logger.debug("no connection to %s at %s", target.host, address)
        return self._ask_at(last, target)

    def _ask_at(self, address: Address, target: _Target) -> BaseHTTPResponse:
        # The pools' keys include these names: no connection is used for another host.
        tls = {"server_hostname": target.host} if target.scheme == "https" else {}
        pool = self._pools.connection_from_host(str(address), target.port, target.scheme, tls)
        headers = {
            "Host": target.host_header,
            "Accept-Encoding": "identity",
            "User-Agent": "possam",
        }
        try:
            return pool.urlopen(
                "GET",
                target.path,
                headers=headers,
                timeout=TIMEOUT,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except SSLError as error:
            if not isinstance(error.args[0], ssl.SSLCertVerificationError):
                raise
            message = f"{target.host} has no valid certificate: {one_line(error)}"
            raise ImageError(ImageErrorCode.NOT_FOUND, message) from error


def _refuse_status(status: int, target: _Target) -> None:
    if status in TRANSIENT or status >= 500:
        raise ConnectionError(f"{target.host} answers {status}")
    if status != http.client.OK:
        raise ImageError(ImageErrorCode.NOT_FOUND, f"{target.host} answers {status}")


def _body(reply: BaseHTTPResponse, image: InputImage) -> bytes:
    if isinstance(reply.length_remaining, int):
        _refuse_size(reply.length_remaining, image)
    etag = reply.headers.get("ETag", "").removeprefix("W/").strip('"')
    if image.etag and etag and etag != image.etag:
        message = f"planned with etag {image.etag!r}, found {etag!r}"
        raise ImageError(ImageErrorCode.INPUT_CHANGED, message)
    data = bytearray()
    deadline = time.monotonic() + BODY_TIMEOUT_S
    while chunk := reply.read1(CHUNK_BYTES):
        data += chunk
        if len(data) > MAX_BYTES:
            raise _too_large(len(data))
        if time.monotonic() > deadline:
            raise TimeoutError(f"the body took more than {BODY_TIMEOUT_S:.0f} s")
    _refuse_size(len(data), image)
    return bytes(data)


def _refuse_size(size: int, image: InputImage) -> None:
    if size > MAX_BYTES:
        raise _too_large(size)
    if image.size is not None and size != image.size:
        message = f"planned {image.size} bytes, found {size}"
        raise ImageError(ImageErrorCode.INPUT_CHANGED, message)


def _too_large(size: int) -> ImageError:
    message = f"{size} bytes or more, at most {MAX_BYTES} are read"
    return ImageError(ImageErrorCode.TOO_LARGE, message)


def _bad_key(message: str) -> ImageError:
    return ImageError(ImageErrorCode.BAD_KEY, message)
