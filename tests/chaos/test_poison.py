"""Images that take their process with them."""

from ray.cluster_utils import Cluster

from pipelines.settings.label import LabelConfig
from pipelines.verify import verify_run
from tests.chaos.ceph import Ceph
from tests.chaos.corpus import make_corpus, make_plain
from tests.chaos.runs import label, make_reference, read_rows
from tests.chaos.stand_in import EXIT_COLOUR, HOG_COLOUR

LIMIT_S = 60.0
LIMIT_RUNS = 5.0  # or as long as so many undisturbed runs take, where the machine is slow


def test_two_killers_among_400_images_are_the_only_poison(ceph: Ceph, cluster: Cluster) -> None:
    corpus = make_corpus(400)
    undisturbed_s = make_reference(ceph, corpus, shard_size=20).seconds
    killers = {"00123.jpg": make_plain(EXIT_COLOUR), "00321.jpg": make_plain(HOG_COLOUR)}
    bucket = ceph.make_bucket()
    ceph.upload(f"s3://{bucket}/images", corpus | killers)
    config = LabelConfig(
        images=f"s3://{bucket}/images",
        output=f"s3://{bucket}/run",
        num_workers=2,
        shard_size=20,
    )
    report = label(config)
    assert report.manifest is not None
    assert (report.manifest.totals.ok, report.manifest.totals.errors) == (398, {"poison": 2})
    named = {row["uri"][-9:] for row in read_rows(config.output) if row["status"] == "error"}
    assert named == killers.keys()
    assert report.seconds < max(LIMIT_S, LIMIT_RUNS * undisturbed_s)
    assert verify_run(config.output).problems == []
