"""The web hosts that the user allows: nothing is read from others."""

import re
import unicodedata
from collections.abc import Iterable

DEFAULT_PORTS = {"http": 80, "https": 443}
IDEOGRAPHIC_FULL_STOP = "\u3002"
ENTRY = re.compile(r"(?P<host>\[[^]]*\]|[^:]*)(?::(?P<port>[0-9]+))?")
HOST = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")  # or IPv6


def unless_a_host(entry: str) -> str:
    """Empty if an address can match `entry`; else what it should be.

    >>> unless_a_host("https://example.org/")
    'a host such as example.org, .example.org (and all below it) or example.org:8080'
    """
    parts = ENTRY.fullmatch(entry)
    name, port = (parts["host"], parts["port"]) if parts else (entry, None)
    if HOST.fullmatch(host_spelling(name)) and (port is None or 0 < int(port) < 2**16):
        return ""
    return "a host such as example.org, .example.org (and all below it) or example.org:8080"


def is_allowed(host: str, port: int, allowed_hosts: Iterable[str]) -> bool:
    """Whether one of `allowed_hosts` names `host`.

    `example.org` is that host alone, `.example.org` the host and all below it; on any port, unless
    the entry ends with one, as in `example.org:8080`. Capitals and a last dot make no difference.
    """
    name = host_spelling(host)
    for entry in allowed_hosts:
        parts = ENTRY.fullmatch(entry)  # None: an IPv6 address without brackets
        allowed, allowed_port = (parts["host"], parts["port"]) if parts else (entry, None)
        if allowed_port is not None and int(allowed_port) != port:
            continue
        allowed = host_spelling(allowed)
        if name == allowed.removeprefix(".") or (allowed[:1] == "." and name.endswith(allowed)):
            return bool(name)
    return False


def host_spelling(host: str) -> str:
    """A host name in the form that is compared: ASCII, without brackets or a last dot.

    As for every host name, letters are composed, wide ones made narrow (NFKC), and an ideographic
    full stop is a dot.

    >>> host_spelling("Bücher.Example.")
    'xn--bcher-kva.example'
    """
    name = unicodedata.normalize("NFKC", host).replace(IDEOGRAPHIC_FULL_STOP, ".")
    labels = name.strip("[]").rstrip(".").lower().split(".")
    ascii_labels = (
        label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in labels
    )
    return ".".join(ascii_labels)
