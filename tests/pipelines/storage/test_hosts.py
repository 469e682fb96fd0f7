import pytest

from pipelines.storage.hosts import is_allowed


@pytest.mark.parametrize(
    ("host", "allowed", "verdict"),
    [
        ("example.org", "example.org", True),
        ("EXAMPLE.org.", "example.ORG", True),
        ("example.org", "Example.org.", True),
        ("a.example.org", "example.org", False),
        ("a.b.example.org", ".example.org", True),
        ("example.org", ".example.org", True),
        ("badexample.org", ".example.org", False),
        ("badexample.org", "example.org", False),
        ("example.org.evil.test", ".example.org", False),
        ("xn--bcher-kva.example", "BÜCHER.example", True),
        ("xn--bcher-kva.example", "bu\u0308cher.example", True),  # u and a combining umlaut
        ("xn--bcher-kva.example", "BU\u0308CHER.example", True),
        ("xn--bcher-kva.example", "bucher.example", False),
        ("example.org", "example\u3002org", True),  # an ideographic full stop
        ("a.example.org", "\uff61example\uff0eorg", True),  # its narrow form, and a wide dot
        ("example.org", "\uff25xample.org", True),  # a wide E
        ("[2606:4700::1]", "2606:4700::1", True),
        ("2606:4700::1", "[2606:4700::1]", True),
        ("example.org", "*", False),
        ("example.org", ".", False),
        ("", "", False),
        ("", ":443", False),
    ],
)
def test_hosts_are_compared_by_name(host: str, allowed: str, verdict: bool) -> None:
    assert is_allowed(host, 443, ["other.test", allowed]) is verdict


@pytest.mark.parametrize(
    ("port", "allowed", "verdict"),
    [
        (443, "example.org:443", True),
        (8080, "example.org", True),
        (8080, "example.org:8080", True),
        (443, "example.org:8080", False),
        (8080, ".org:8080", True),
        (80, ".org:8080", False),
    ],
)
def test_an_entry_with_a_port_allows_that_port_alone(
    port: int, allowed: str, verdict: bool
) -> None:
    assert is_allowed("example.org", port, [allowed]) is verdict


def test_a_port_follows_an_address_in_brackets() -> None:
    assert is_allowed("2606:4700::1", 80, ["[2606:4700::1]:80"])
    assert not is_allowed("2606:4700::1", 81, ["[2606:4700::1]:80"])


def test_no_host_is_allowed_by_an_empty_list() -> None:
    assert not is_allowed("example.org", 443, [])
