import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import fsspec
import pytest
import torch

from pipelines.doctor import Check, machine, output, run_doctor
from pipelines.doctor.check import examine
from pipelines.doctor.corpus import check_images
from pipelines.doctor.machine import (
    check_disk,
    check_gpu,
    check_leftovers,
    check_libraries,
    check_memory,
    check_model,
    check_open_files,
    check_python,
)
from pipelines.doctor.output import check_credentials, check_output, judge_clock
from pipelines.doctor.ray_trial import check_ray
from possam_core.checkpoints.models import model_fingerprint
from possam_core.errors import ConfigError
from tests.factories import encode, make_pixels

SECRET = "w0uldBeAShame+toPrint/This"
SKEWED = (
    b'<?xml version="1.0"?><Error><Code>RequestTimeTooSkewed</Code><Message>The difference'
    b" between the request time and the current time is too large.</Message></Error>"
)

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A corpus of one image, 48 x 64."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/b.jpg").write_bytes(encode(make_pixels(48, 64)))
    return tmp_path / "images"


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without credentials; the path of its credentials file."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path / "credentials"


@pytest.fixture
def store_of_another_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`host:port` of a store that finds each request too far from its own time."""

    class Refusal(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.send_response(403)
            self.send_header("Content-Length", str(len(SKEWED)))
            self.end_headers()
            self.wfile.write(SKEWED)

        do_GET = do_DELETE = do_PUT

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    yield address
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def outcome(checks: Iterator[Check]) -> dict[str, str]:
    return {check.name: check.verdict for check in checks}


def test_this_environment_is_fit() -> None:
    assert check_python().verdict == "ok"
    libraries = check_libraries()
    assert libraries.verdict == "ok"
    assert f"torch {version('torch')}" in libraries.finding


def test_a_library_below_its_floor_and_one_that_is_missing_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = ["pillow>=99", "nowhere-to-be-found>=1", "numpy>=2", 'tomli>=9; extra == "dev"']
    monkeypatch.setattr(machine, "requires", lambda _: wanted)
    check = check_libraries()
    assert check.verdict == "failed"
    assert check.finding == (
        f"pillow {version('pillow')}, wanted >=99; nowhere-to-be-found is not installed"
    )


def test_a_python_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "metadata", lambda _: {"Requires-Python": ">=4"})
    check = check_python()
    assert check.verdict == "failed"
    assert check.remedy is not None
    assert "Python >=4" in check.remedy


def test_a_model_is_named_with_the_sha256_that_plans_record() -> None:
    assert model_fingerprint("possam-tiny") in check_model("possam-tiny").finding


def test_an_unknown_model_fails_with_the_nearest_name() -> None:
    check = examine("model", lambda: check_model("possam-tinny"), remedy="")
    assert check.verdict == "failed"
    assert check.remedy == "did you mean 'possam-tiny'?"


@needs_no_gpu
def test_no_gpu_is_a_warning_only_if_gpus_are_wanted() -> None:
    assert check_gpu(False).verdict == "ok"
    assert check_gpu(True).verdict == "warning"


def test_little_memory_in_a_container_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "memory.max").write_text(f"{3 * 2**29}\n")
    (tmp_path / "memory.current").write_text(f"{2**29}\n")
    monkeypatch.setattr(machine, "MEMORY_CGROUP", tmp_path)
    check = check_memory()
    assert check.verdict == "warning"
    assert "1.0 GiB of memory is free" in check.finding
    assert check.remedy == "free some memory, or label with --num-workers 1"


def test_a_full_disk_fails_and_a_nearly_full_one_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, total = tmp_path / "not/there/yet", 100 * 2**30
    for free, verdict in ((2**30 - 1, "failed"), (4 * 2**30, "warning"), (6 * 2**30, "ok")):
        usage = type("Usage", (), {"free": free, "total": total})
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _, usage=usage: usage)
        assert check_disk("the output", folder).verdict == verdict


def test_a_low_limit_of_open_files_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    for hard, verdict in ((1024, "warning"), (8192, "ok"), (resource.RLIM_INFINITY, "ok")):
        monkeypatch.setattr(machine.resource, "getrlimit", lambda _, hard=hard: (1024, hard))
        assert check_open_files().verdict == verdict


def test_an_agent_of_ray_without_its_node_is_a_leftover() -> None:
    agent = subprocess.Popen(["ray::DashboardAgent", "60"], executable="/bin/sleep")
    try:
        while not Path(f"/proc/{agent.pid}/cmdline").read_bytes().startswith(b"ray::"):
            time.sleep(0.01)  # until the process has replaced itself
        check = check_leftovers()
        assert check.verdict == "warning"
        assert str(agent.pid) in (check.remedy or "").split()
    finally:
        agent.kill()
        agent.wait()


def test_a_private_cluster_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check = check_ray(are_gpus_wanted=False)
    assert check.verdict == "ok"
    assert check.finding.startswith("a private cluster answers: ")


def test_a_cluster_that_cannot_be_reached_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    with pytest.raises(ConfigError, match=f"127.0.0.1:{closed_port}.*Connection refused"):
        check_ray(are_gpus_wanted=False)


@pytest.mark.parametrize("address", ["http://head:8265", "ray://head:10001", "head"])
def test_an_address_of_another_kind_than_a_job_takes_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match="expected RAY_ADDRESS as host:port"):
        check_ray(are_gpus_wanted=False)


def test_credentials_are_named_by_their_source_alone(
    no_credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_credentials().finding == "none for S3"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    check = check_credentials()
    assert (check.verdict, check.finding) == ("ok", "from the environment (AWS_ACCESS_KEY_ID)")


def test_credentials_in_a_file_fail_because_images_are_read_without_it(
    no_credentials: Path,
) -> None:
    no_credentials.write_text(
        f"[default]\naws_access_key_id = somebody\naws_secret_access_key = {SECRET}\n"
    )
    check = check_credentials()
    assert check.verdict == "failed"
    assert "only from shared-credentials-file" in check.finding
    assert "export-credentials" in (check.remedy or "")


ALL_WELL = {"output": "ok", "output speed": "ok", "clock": "ok"}


def test_a_folder_can_be_an_output_and_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert outcome(check_output(str(tmp_path / "run"))) == ALL_WELL
    assert list(tmp_path.rglob("*")) == [tmp_path / "run"]


def test_an_output_that_does_not_exist_yet_is_not_made(tmp_path: Path) -> None:
    assert outcome(check_output(str(tmp_path / "deep/run"))) == ALL_WELL
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_can_be_an_output_and_is_left_as_it_was(s3_server: str) -> None:
    bucket = fsspec.filesystem("s3")
    bucket.makedirs("doctors", exist_ok=True)
    assert outcome(check_output("s3://doctors/run")) == ALL_WELL
    bucket.invalidate_cache()
    assert bucket.find("doctors") == []


def test_an_output_below_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failed, *others = check_output(str(tmp_path / "file/run"))
    assert failed.verdict == "failed"
    assert "cannot be written" in failed.finding
    assert [c.finding for c in others] == ["not measured, as the output cannot be written"] * 2


def test_a_missing_bucket_fails_and_says_what_to_do(s3_server: str) -> None:
    failed, *_ = check_output("s3://no-such-bucket/run")
    assert (failed.verdict, failed.remedy) == ("failed", "make the bucket, or correct its name")


def test_a_store_that_overwrites_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def overwrite(store: object, key: str, data: bytes) -> bool:
        output.obstore.put(store, key, data)
        return True

    monkeypatch.setattr(output, "put_new", overwrite)
    failed, *_ = check_output(str(tmp_path))
    assert failed.verdict == "failed"
    assert "overwrites what exists" in failed.finding
    assert list(tmp_path.iterdir()) == []


def test_http_without_being_allowed_is_named(
    store_of_another_time: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    failed, *_ = check_output("s3://bucket/run")
    assert "AWS_ALLOW_HTTP" in (failed.remedy or "")


def test_a_store_that_finds_our_time_wrong_leads_to_the_clock(store_of_another_time: str) -> None:
    failed, *_ = check_output("s3://bucket/run")
    assert failed.verdict == "failed"
    assert failed.remedy == output.CLOCK_REMEDY


def test_a_clock_may_be_a_minute_off_and_must_not_be_a_quarter_of_an_hour() -> None:
    assert judge_clock(-60).verdict == "ok"
    assert judge_clock(61).verdict == "warning"
    assert judge_clock(61).finding == "the store's is 0:01:01 ahead of this machine's"
    assert judge_clock(-900).verdict == "warning"
    assert judge_clock(-901).verdict == "failed"
    assert judge_clock(-901).finding == "the store's is 0:15:01 behind this machine's"


def test_an_image_is_read_and_decoded(images: Path) -> None:
    check = check_images(str(images), ())
    assert check.verdict == "ok"
    assert check.finding == f"{images}/b.jpg can be read: 64 x 48 pixels"


def test_a_bad_first_image_is_named_and_skipped(images: Path) -> None:
    (images / "a.jpg").write_bytes(b"")
    check = check_images(str(images), ())
    assert check.verdict == "ok"
    assert "b.jpg can be read" in check.finding
    assert "a.jpg is empty" in check.finding


def test_images_that_cannot_be_decoded_fail(images: Path) -> None:
    (images / "b.jpg").write_bytes(b"")
    check = check_images(str(images), ())
    assert check.verdict == "failed"
    assert "b.jpg is empty" in check.finding


def test_images_in_a_bucket_are_read(images: Path, s3_server: str) -> None:
    bucket = fsspec.filesystem("s3")
    bucket.makedirs("corpora", exist_ok=True)
    bucket.put(str(images / "b.jpg"), "s3://corpora/doctor/b.jpg")
    check = check_images("s3://corpora/doctor", ())
    assert check.finding == "s3://corpora/doctor/b.jpg can be read: 64 x 48 pixels"


def test_one_failing_check_never_hides_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed_port: int
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    (tmp_path / "file").write_text("")
    checks = list(
        run_doctor(
            output=str(tmp_path / "file/run"), images=str(tmp_path / "none"), model="no-model"
        )
    )
    failed = [check for check in checks if check.verdict == "failed"]
    assert [check.name for check in failed] == ["model", "ray", "output", "images"]
    assert all(check.remedy for check in failed)
    assert [check.name for check in checks] == [
        "python",
        "libraries",
        "model",
        "CPUs and memory",
        "GPUs",
        "disk of temporary files",
        "disk of the output",
        "open files",
        "leftovers of Ray",
        "ray",
        "output",
        "output speed",
        "clock",
        "images",
    ]


@pytest.mark.parametrize("password", ["hunter2-hunter2", SECRET])  # the other breaks the address
def test_no_check_prints_a_secret(
    monkeypatch: pytest.MonkeyPatch, store_of_another_time: str, closed_port: int, password: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{password}@{store_of_another_time}")
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"token-{SECRET}")
    monkeypatch.setenv("RAY_ADDRESS", f"user:{SECRET}@127.0.0.1:{closed_port}")
    checks = list(run_doctor(output="s3://bucket/run", images="s3://bucket/images", model=SECRET))
    assert {c.name for c in checks if c.verdict == "failed"} >= {"model", "ray", "output", "images"}
    printed = "".join(f"{check.finding} {check.remedy}" for check in checks)
    assert SECRET not in printed
    assert password not in printed


def test_logins_and_signatures_in_messages_are_starred_out() -> None:
    said = "PUT http://me:hunter2@host/a?X-Amz-Signature=abc&x=1 AWSAccessKeyId=AKIA"
    check = Check(name="x", verdict="failed", finding=said, remedy=said)
    starred = "PUT http://***@host/a?X-Amz-Signature=***&x=1 AWSAccessKeyId=***"
    assert (check.finding, check.remedy) == (starred, starred)


def test_what_a_check_raises_is_its_finding() -> None:
    def break_down() -> Check:
        raise RuntimeError("out of luck\nand a long tale")

    check = examine("luck", break_down, remedy="try again")
    assert check == Check(
        name="luck", verdict="failed", finding="RuntimeError: out of luck", remedy="try again"
    )
