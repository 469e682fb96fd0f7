"""Calls of one series at once, on a store that loses replies."""

import threading
from pathlib import Path

from pipelines.planning.series import Series
from pipelines.run.folder import RunFolder
from pipelines.run.parts import read_shard
from pipelines.run.plan import load_plan
from pipelines.settings.label import LabelConfig
from tests.chaos.ceph import Ceph
from tests.chaos.corpus import make_corpus
from tests.chaos.fault_proxy import FaultProxy, Faults

NUM_IMAGES = 40
NUM_CALLS = 6


def test_every_image_is_planned_once_by_whoever_claims_it(
    ceph: Ceph, network: FaultProxy, tiny_model: str
) -> None:
    bucket = ceph.make_bucket()
    config = LabelConfig(
        images=f"s3://{bucket}/corpus",
        output=f"s3://{bucket}/series",
        model=tiny_model,
        shard_size=4,
        limit=NUM_IMAGES // 2,  # so that there is a second number to race for
    )
    ceph.upload(config.images, make_corpus(NUM_IMAGES))
    network.faults = Faults(probability=0.2, kinds=("lost_reply",), methods=("PUT",))
    found: list[LabelConfig | None] = []
    calls = [
        threading.Thread(target=lambda: found.append(Series(config).plan_new()))
        for _ in range(NUM_CALLS)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert network.counts["lost_reply"] > 0
    assert len(found) == NUM_CALLS
    runs = [run for run in found if run is not None]
    assert sorted(Path(run.output).name for run in runs) == ["000001", "000002"]
    planned = [uri for run in runs for uri in planned_uris(RunFolder(run.output))]
    assert len(planned) == len(set(planned)) == NUM_IMAGES
    assert not [key for key in ceph.snapshot(config.output) if key.startswith("_drafts/")]


def planned_uris(run: RunFolder) -> list[str]:
    plan = load_plan(run)
    assert plan is not None
    return [image.uri for shard in range(plan.num_shards) for image in read_shard(run, shard)]
