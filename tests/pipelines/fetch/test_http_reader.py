import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from urllib3 import Timeout

from pipelines.corpus.image import InputImage
from pipelines.fetch import http_reader
from pipelines.fetch.http_reader import HttpReader, is_public_address
from possam_core.images.decode import ImageError
from tests.pipelines.clock import Clock

NAME = "images.test"
RESOLVE = socket.getaddrinfo


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the server sends; by default four bytes of a picture."""

    status: int = 200  # 0: it closes the connection
    body: bytes = b"data"
    length: int | None = 4  # None: it announces none
    headers: dict[str, str] = field(default_factory=dict)
    until: threading.Event | None = None  # it waits for that


class Site(ThreadingHTTPServer):
    """A real server on the loopback that records its requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: dict[str, list[Reply]] = {}  # by path; the last one stays
        self.asked: list[tuple[str, str, str]] = []  # path, Host and Accept-Encoding

    def url(self, path: str = "/a.jpg", *, host: str = NAME, scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.server_port}{path}"

    def handle_error(self, *_: object) -> None:
        """Keep silent about clients that leave."""


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        headers = self.headers
        self.server.asked.append((self.path, headers["Host"], headers["Accept-Encoding"]))
        replies = self.server.replies.get(self.path, [Reply()])
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if reply.until is not None:
            reply.until.wait(10)
        if reply.status == 0:
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.length is not None:
            self.send_header("Content-Length", str(reply.length))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        """Keep silent."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Resolver:
    """Replaces name servers: each query gets the next answer, and the last one is repeated."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {NAME: [["127.0.0.1"]]}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, *args: object, **options: object) -> list[object]:
        self.asked.append(host)
        if host not in self.answers:
            return RESOLVE(host, port, *args, **options)
        answers = self.answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [found for a in addresses for found in RESOLVE(a, port, type=socket.SOCK_STREAM)]


@pytest.fixture(autouse=True)
def resolver(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    names = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    return names


def web_image(uri: str, *, size: int | None = None, etag: str | None = None) -> InputImage:
    return InputImage(image_id="1", uri=uri, size=size, etag=etag)


def open_reader(*hosts: str) -> HttpReader:
    """A reader that treats the loopback as public."""
    return HttpReader(hosts or (NAME,), is_public=lambda _: True)


def code_of(uri: str, reader: HttpReader | None = None, **promised: object) -> str:
    with pytest.raises(ImageError) as caught:
        (reader or open_reader()).read(web_image(uri, **promised))
    return caught.value.code.value


def test_a_picture_is_read_and_asked_for_unpacked(site: Site) -> None:
    assert open_reader().read(web_image(site.url("/a%20b.jpg?w=1"))) == b"data"
    assert site.asked == [("/a%20b.jpg?w=1", f"{NAME}:{site.server_port}", "identity")]


def test_a_planned_size_or_etag_that_differs_is_input_changed(site: Site) -> None:
    site.replies["/a.jpg"] = [Reply(headers={"ETag": 'W/"one"'})]
    site.replies["/no-length.jpg"] = [Reply(length=None)]
    assert open_reader().read(web_image(site.url(), size=4, etag="one")) == b"data"
    assert code_of(site.url(), size=5) == "input_changed"
    assert code_of(site.url("/no-length.jpg"), size=5) == "input_changed"
    assert code_of(site.url(), etag="two") == "input_changed"


@pytest.mark.parametrize("status", [204, 206, 302, 400, 401, 403, 404, 410])
def test_what_the_server_will_not_give_is_not_found(site: Site, status: int) -> None:
    site.replies["/a.jpg"] = [Reply(status=status, body=b"", length=0)]
    assert code_of(site.url()) == "not_found"
    assert len(site.asked) == 1


@pytest.mark.parametrize("status", [0, 408, 429, 500, 503])
def test_trouble_that_passes_is_waited_out(site: Site, status: int) -> None:
    site.replies["/a.jpg"] = [Reply(status=status), Reply(status=status), Reply()]
    assert open_reader().read(web_image(site.url())) == b"data"
    assert len(site.asked) == 3


@pytest.mark.parametrize("status", [0, 429, 503])
def test_trouble_that_stays_raises_instead_of_becoming_a_row(site: Site, status: int) -> None:
    site.replies["/a.jpg?secret=1"] = [Reply(status=status)]
    with pytest.raises(ConnectionError, match=r"/a\.jpg: ") as caught:
        open_reader().read(web_image(site.url("/a.jpg?secret=1")))
    assert "secret" not in str(caught.value)
    assert len(site.asked) == http_reader.PATIENCE.tries


def test_a_server_that_is_silent_raises(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_reader, "TIMEOUT", Timeout(connect=5.0, read=0.05))
    done = threading.Event()
    site.replies["/a.jpg"] = [Reply(until=done)]
    with pytest.raises(ConnectionError, match="timed out"):
        open_reader().read(web_image(site.url()))
    done.set()


def test_a_server_that_drips_raises(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_reader, "BODY_TIMEOUT_S", -1.0)
    with pytest.raises(ConnectionError, match="the body took more than"):
        open_reader().read(web_image(site.url()))


def test_a_body_shorter_than_announced_is_tried_again_and_then_named(site: Site) -> None:
    site.replies["/once.jpg"] = [Reply(length=9), Reply()]
    site.replies["/ever.jpg"] = [Reply(length=9)]
    chunked = {"Transfer-Encoding": "chunked"}
    site.replies["/chunks.jpg"] = [Reply(length=None, headers=chunked, body=b"9\r\ndata")]
    assert open_reader().read(web_image(site.url("/once.jpg"))) == b"data"
    assert code_of(site.url("/ever.jpg")) == "corrupt_read"
    assert code_of(site.url("/chunks.jpg")) == "corrupt_read"
    assert len(site.asked) == 2 + 3 + 3


def test_no_more_than_the_byte_limit_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_reader, "MAX_BYTES", 4)
    site.replies["/announced.jpg"] = [Reply(body=b"", length=5)]
    site.replies["/endless.jpg"] = [Reply(body=b"d" * 2**20, length=None)]
    assert open_reader().read(web_image(site.url())) == b"data"
    assert code_of(site.url("/announced.jpg")) == "too_large"
    assert code_of(site.url("/endless.jpg")) == "too_large"
    assert code_of("http://nobody.asks/", size=5) == "too_large"


def test_three_redirects_are_followed_and_no_fourth(site: Site) -> None:
    for number in range(4):
        moved = {"Location": f"/{number + 1}"}
        site.replies[f"/{number}"] = [Reply(status=302, headers=moved)]
    assert open_reader().read(web_image(site.url("/1"))) == b"data"
    assert code_of(site.url("/0")) == "not_found"


@pytest.mark.parametrize(
    "location",
    [
        "http://other.test/",
        "http://127.0.0.1/",
        "file:///etc/passwd",
        "//[",
        "http://u:p@images.test/",
    ],
)
def test_a_redirect_leads_nowhere_that_is_not_allowed(site: Site, location: str) -> None:
    site.replies["/a.jpg"] = [Reply(status=302, headers={"Location": location})]
    assert code_of(site.url()) == "bad_key"


def test_a_redirect_to_a_private_address_is_refused(site: Site, resolver: Resolver) -> None:
    resolver.answers["inside.test"] = [["10.0.0.1"]]
    location = {"Location": "http://inside.test/"}
    site.replies["/a.jpg"] = [Reply(status=307, headers=location)]
    loopback_alone = ip_address("127.0.0.1").__eq__
    reader = HttpReader([NAME, "inside.test"], is_public=loopback_alone)
    assert code_of(site.url(), reader) == "bad_key"


def test_the_loopback_is_refused_by_default(site: Site) -> None:
    assert code_of(site.url(), HttpReader([NAME])) == "bad_key"
    assert site.asked == []


def test_one_private_address_among_public_ones_is_enough_to_refuse(resolver: Resolver) -> None:
    resolver.answers[NAME] = [["8.8.8.8", "192.168.0.1"]]
    assert code_of(f"http://{NAME}/", HttpReader([NAME])) == "bad_key"


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "localhost", "localhost."),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]"),
        *("[2002:7f00:1::]", "169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "[::]"),
    ],
)
def test_no_spelling_of_a_private_address_gets_through(site: Site, host: str) -> None:
    assert code_of(site.url(host=host), HttpReader([host])) == "bad_key"
    assert site.asked == []


def test_a_name_that_changes_its_address_is_asked_once(site: Site, resolver: Resolver) -> None:
    resolver.answers[NAME] = [["127.0.0.1"], ["127.0.0.2"]]  # nothing listens at the second
    reader = HttpReader([NAME], is_public=ip_address("127.0.0.1").__eq__)
    assert reader.read(web_image(site.url())) == b"data"
    assert resolver.asked.count(NAME) == 1
    assert code_of(site.url(), reader) == "bad_key"  # the name server answers the other address now


def test_the_next_address_is_taken_where_one_is_dead(site: Site, resolver: Resolver) -> None:
    resolver.answers[NAME] = [["127.0.0.2", "127.0.0.1"]]
    assert open_reader().read(web_image(site.url())) == b"data"


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://images.test/",
        "http:///a.jpg",
        "http://me@images.test/",
        "http://me:pw@images.test/",
        "http://other.test/",
        "http://images.test.evil.test/",
        "http://images.test:99999/",
        "http://images.test\\@evil.test:x/",
        "http://evil.test#@images.test/",
        "http://a b/",
    ],
)
def test_an_address_that_is_not_allowed_is_a_bad_key(uri: str, resolver: Resolver) -> None:
    assert code_of(uri) == "bad_key"
    assert resolver.asked == []


def test_a_host_that_cannot_be_a_name_is_a_bad_key() -> None:
    host = "a" * 64 + ".test"
    assert code_of(f"http://{host}/", open_reader(host)) == "bad_key"


@pytest.mark.parametrize(
    ("errno", "raised"), [(socket.EAI_NONAME, ImageError), (socket.EAI_AGAIN, ConnectionError)]
)
def test_an_unknown_name_is_not_found_but_a_silent_name_server_raises(
    errno: int, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(errno, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(raised, match=NAME) as caught:
        open_reader().read(web_image(f"http://{NAME}/"))
    assert raised is ConnectionError or caught.value.code.value == "not_found"


# fmt: off
PUBLIC = [
    "8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.0", "192.0.1.0",
    "100.63.255.255", "100.128.0.0", "198.20.0.0", "223.255.255.255", "168.63.129.17",
    "2606:4700::1", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::",
]
PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255",
    "127.0.0.1", "127.255.255.255", "169.254.0.1", "169.254.169.254", "172.16.0.0",
    "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.0",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "168.63.129.16", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::127.0.0.1", "::8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "100::1", "2001::1",
    "2001:db8::1", "2002:7f00:1::", "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1",
]
# fmt: on


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public_address(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_any_other_address_is_not_public(address: str) -> None:
    assert not is_public_address(ip_address(address))


@pytest.fixture
def make_certificate(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the key and the self-signed certificate of a host."""

    def make(host: str) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        path = tmp_path / f"{host}.pem"
        pem = serialization.Encoding.PEM
        form = serialization.PrivateFormat.PKCS8
        path.write_bytes(
            key.private_bytes(pem, form, serialization.NoEncryption())
            + certificate.public_bytes(pem)
        )
        return path

    return make


def speak_tls(site: Site, certificate: Path, names: list[str | None]) -> None:
    """Let `site` show that certificate and note the server names it is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _, name, __: names.append(name)
    site.socket = context.wrap_socket(site.socket, server_side=True)


def test_the_certificate_must_be_of_the_host(
    site: Site, make_certificate: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(NAME)
    names: list[str | None] = []
    speak_tls(site, certificate, names)
    assert code_of(site.url(scheme="https")) == "not_found"  # no authority signed it
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    reader = open_reader(NAME, "localhost")
    assert reader.read(web_image(site.url(scheme="https"))) == b"data"
    assert set(names) == {NAME}
    # The same address and port by another name: the open connection must not serve it.
    assert code_of(site.url(scheme="https", host="localhost"), reader) == "not_found"
