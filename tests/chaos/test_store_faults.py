"""The store answers wrongly, late, in part or not at all."""

import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from pipelines.label.session import LabelReport
from pipelines.planning.prepare import prepare
from possam_core.errors import ConfigError
from tests.chaos.ceph import Ceph
from tests.chaos.fault_proxy import FaultProxy, Faults
from tests.chaos.runs import (
    Reference,
    elsewhere,
    label,
    read_manifest,
    require_sound,
    start_command,
    wait_for_commits,
)
from tests.chaos.stand_in import Orders

TROUBLE = ("500", "503", "reset", "slow", "truncated")
MAX_RUNS = 5  # that an operator would start before asking for help
STOPS_WITHIN_S = 600.0


def label_until_complete(reference: Reference, location: str) -> LabelReport:
    """Run the command until it says that nothing is left; refusals count as runs."""
    report = None
    for _ in range(MAX_RUNS):
        try:
            report = label(elsewhere(reference, location))
        except ConfigError as error:  # so troubled that it could not even be planned
            assert "failed" in str(error)  # noqa: PT017 - one of several runs
        if report is not None and report.manifest is not None:
            return report
    raise AssertionError(f"not complete after {MAX_RUNS} runs: {report}")


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(Faults(probability=0.05, kinds=TROUBLE), id="trouble-5-percent"),
        pytest.param(Faults(probability=0.20, kinds=TROUBLE), id="trouble-20-percent"),
        pytest.param(
            Faults(probability=0.20, kinds=("lost_reply",), methods=("PUT",)), id="lost-replies"
        ),
        pytest.param(Faults(probability=0.05, kinds=("flip",)), id="flipped-bytes"),
    ],
)
def test_faults_lose_no_row_and_change_none(
    hundreds: Reference, network: FaultProxy, run_location: str, faults: Faults
) -> None:
    if "flip" in faults.kinds:  # a listing has no checksum, so it is made in peace
        prepare(elsewhere(hundreds, run_location))
    network.faults = faults
    label_until_complete(hundreds, run_location)
    network.faults = Faults()
    for kind in faults.kinds:
        assert network.counts[kind] > 0
    require_sound(run_location, hundreds)


@pytest.mark.timeout(STOPS_WITHIN_S + 120)
def test_a_store_that_dies_half_way_stops_the_run_without_error_rows(
    hundreds: Reference,
    network: FaultProxy,
    ceph: Ceph,
    cluster: Cluster,
    run_location: str,
    tmp_path: Path,
) -> None:
    config = elsewhere(hundreds, run_location)
    orders = Orders(seconds_an_image=0.02)
    command = start_command(config, tmp_path / "log", orders, ray_address=cluster.address)
    wait_for_commits(ceph, run_location, 0.5 * hundreds.num_shards)
    network.faults = Faults(probability=1.0, kinds=("500", "503", "reset"))
    died = time.monotonic()
    assert command.wait(STOPS_WITHIN_S) in (1, 2)
    assert time.monotonic() - died < STOPS_WITHIN_S
    assert "Traceback" not in command.output

    network.faults = Faults()
    assert label(config).manifest is not None
    assert read_manifest(run_location)["totals"]["errors"] == {}
    require_sound(run_location, hundreds)
