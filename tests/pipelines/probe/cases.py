"""A measured sample and the run that it represents, in round numbers."""

from pipelines.probe.forecast import MeasuredSample, Scope

# 4 batches of 8 images in 4 s each: half a second an image, without any doubt.
MEASUREMENT = MeasuredSample(
    startup_seconds=10.0,
    batch_seconds=(4.0, 4.0, 4.0, 4.0),
    batch_images=(8, 8, 8, 8),
    stage_seconds={"fetch": 1.0, "decode": 2.0, "model": 12.0, "encode": 1.0, "write": 0.0},
    row_bytes=(7000.0,) * 32,
    file_bytes=5000,
    image_bytes=(200_000,) * 32,
    billed_share=1.0,
    is_packed=False,
    failures=(),
    memory_bytes=2 * 10**9,
    gpu_memory_bytes=None,
)
SCOPE = Scope(
    images="s3://corpus/photos",
    output="s3://labels/run",
    model="possam-tiny",
    num_images=100_000,
    num_shards=100,
    shard_size=1000,
    num_workers=8,
    has_default_workers=False,
    gpus_per_worker=0.5,
    is_planned=True,
    is_output_billed=True,
    error_budget=0.5,
)
