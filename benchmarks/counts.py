"""What a GPU would be asked for, counted without one: waits, launches, bytes and FLOPs.

A batch of 8 images goes through the GPU's own branches on tensors that pose as a GPU's
(`benchmarks.posing`): waits and launches with real values on encoders and a canvas of small size,
for they depend on neither, and FLOPs and bytes at full size on tensors without values. Prints a
table, and every place that waits; writes `build/bench/counts.json`.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.attention_flops import FlopCounter
from benchmarks.gpu import keeping
from benchmarks.posing import GPU, Counts, counting, pose, pose_network
from benchmarks.report import write_json
from possam_core.arithmetic import Precision
from possam_core.decoder.mask_decoder import FULL_SIZE_MASK_DECODER, MaskPrediction
from possam_core.decoder.pixel_decoder import FULL_SIZE_PIXEL_DECODER, make_pixel_decoder
from possam_core.decoder.pyramid import PYRAMID_SCALES
from possam_core.encoders.clip import ClipConfig
from possam_core.encoders.sam import SAM_CONFIGS, SamConfig, SamEncoder
from possam_core.images.batch import ImageBatch, make_batch
from possam_core.labels.calibration import CalibrationConfig, ExpectedPqConfig, LogitMap
from possam_core.model import MaskClassification, ModelCard, PosSAM, full_size
from possam_core.playground import PLAYGROUND, generate_scene
from possam_core.predictor import Predictor
from possam_core.training.data.scenes import SceneBatch
from possam_core.training.loss_config import LossConfig
from possam_core.training.losses import Truth, possam_loss
from possam_core.training.matching import Targets
from possam_core.training.points import PointSampler
from possam_core.vocabulary.text_embeddings import TextEmbeddings

OUTPUT = Path("build/bench/counts.json")
BATCH_SIZE = 8
SEGMENTS = 20  # of an image in training
NUM_POINTS = 12544
KEPT_MASKS = 30  # of an image, as on photographs
# FLOPs of one image in ViT-B as `segment_anything` computes it, its windows padded before the
# projections and its bias as a tensor of its own, by torch's counter.
REFERENCE_VIT_B_FLOPS = 972e9
# Decoders of full depth and as many queries, narrow, on encoders as small as they can be.
SMALL_ENCODERS = replace(
    full_size("vit_b"),
    sam=SamConfig(
        image_size=128,
        patch_size=16,
        embed_dim=32,
        depth=2,
        num_heads=2,
        out_channels=32,
        use_rel_pos=True,
        window_size=3,
        global_attn_indexes=(1,),
    ),
    clip=ClipConfig(),
    pyramid_channels=64,
    decoder=replace(FULL_SIZE_MASK_DECODER, width=64, ffn_width=64),
    pixel_decoder=replace(FULL_SIZE_PIXEL_DECODER, ffn_width=64),
)
CALIBRATED = CalibrationConfig(
    temperature=1.5,
    presence=LogitMap(scale=1.1, shift=0.1),
    iou=LogitMap(scale=0.9, shift=-0.1),
    expected_pq=ExpectedPqConfig(
        intercept=0.1,
        of_segments=1.0,
        of_coverage=1.0,
        of_few=0.5,
        usual_coverage=0.9,
        usual_score=0.7,
        usual_predicted_iou=0.8,
    ),
)


def main() -> None:
    """Count, print, write."""
    figures, waits = count_all()
    write_json(OUTPUT, figures)
    table = Table("what", "count")
    for name, figure in figures.items():
        table.add_row(name, f"{figure:,.3f}" if isinstance(figure, float) else f"{figure:,}")
    console = Console()
    console.print(table)
    for place, number in waits.most_common():
        console.print(f"{number} waits at {place}", highlight=False)


def count_all() -> tuple[dict[str, float], Counter[str]]:
    """All figures by name, and the waits of a calibrated batch by place."""
    plain, calibrated = count_batch(), count_batch(calibration=CALIBRATED)
    low, pixels = count_batch(precision="bfloat16"), count_pixel_decoder()
    training = count_loss()
    figures: dict[str, float] = {
        "waits_merge": plain.merge.num_waits,
        "waits_merge_calibrated": calibrated.merge.num_waits,
        "waits_batch": plain.whole.num_waits,
        "waits_batch_calibrated": calibrated.whole.num_waits,
        "launches_decoder_and_merge": plain.decoder.num_launches + plain.merge.num_launches,
        "d2h_bytes_per_image": plain.whole.home_bytes / BATCH_SIZE,
        "casts_of_frozen_weights": low.whole.casts_of_weights,
        "sam_vit_b_flops_ratio": sam_vit_b_flops() / REFERENCE_VIT_B_FLOPS,
        "pixel_decoder_bytes_per_image": pixels.touched_bytes / BATCH_SIZE,
        "pixel_decoder_launches": pixels.num_launches,
        "training_waits_points": training.num_waits,
        "training_launches_loss": training.num_launches,
    }
    return figures, calibrated.whole.waits


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounts:
    """Of one batch: as the job labels it, and the parts that follow the encoders by themselves."""

    whole: Counts
    decoder: Counts
    merge: Counts


def count_batch(
    *, calibration: CalibrationConfig | None = None, precision: Precision = "float32"
) -> BatchCounts:
    """The counts of 8 images, of which some 30 masks each are kept."""
    torch.manual_seed(0)
    card = ModelCard(vocabulary=PLAYGROUND.vocabulary, training_names=())
    predictor = Predictor(PosSAM(SMALL_ENCODERS, card), precision=precision)
    canvas = SMALL_ENCODERS.sam.image_size
    images = [generate_scene(seed=2_000_003, index=i).image for i in range(BATCH_SIZE)]
    with torch.no_grad():
        inference = keeping(KEPT_MASKS, predictor, make_batch(images, canvas=canvas))
    predictor.inference = replace(inference, calibration=calibration or CalibrationConfig())
    model = pose_network(predictor.model)
    predictor.text = TextEmbeddings(
        pose(predictor.text.embeddings),
        pose(predictor.text.class_of_name),
        predictor.text.num_classes,
    )
    with counting(model):
        predictor(images)  # once, for what is made at first and kept
    with counting(model) as whole:
        predictor(images)
    batch = make_batch(images, canvas=canvas)
    batch = replace(batch, pixels=pose(batch.pixels), valid=pose(batch.valid))
    with torch.no_grad():
        with counting(model):
            features = model.encode(batch)
        with counting(model) as decoder:
            (result,) = model.decode(batch, features, predictor.text)
        with counting(model) as merge:
            predictor.merge(batch, result)
    return BatchCounts(whole=whole, decoder=decoder, merge=merge)


def sam_vit_b_flops() -> int:
    """Of one image at full size, on the GPU's branch."""
    with torch.device("meta"):
        encoder = SamEncoder(SAM_CONFIGS["vit_b"])
        pixels = torch.zeros(1, 3, 1024, 1024)
    with FlopCounter() as counter, torch.no_grad():
        encoder.encoder(pixels)
    return counter.get_total_flops()


def count_pixel_decoder() -> Counts:
    """Of 8 images at full size, without values."""
    config = full_size("vit_b")
    grid = config.sam.image_size // config.sam.patch_size
    with torch.device("meta"):
        decoder = make_pixel_decoder(
            config.pixel_decoder, config.pyramid_channels, num_levels=len(PYRAMID_SCALES)
        )
        sides = [int(grid * scale) for scale in PYRAMID_SCALES]
        pyramid = [torch.zeros(BATCH_SIZE, config.pyramid_channels, s, s) for s in sides]
        valid = torch.ones(BATCH_SIZE, sides[0], sides[0], dtype=torch.bool)
    posing, inputs = pose_network(decoder), ([pose(level) for level in pyramid], pose(valid))
    with torch.no_grad():
        with counting(decoder):
            posing(*inputs)  # once, for what is made at first and kept
        with counting(decoder) as counts:
            posing(*inputs)
    return counts


def count_loss() -> Counts:
    """Of the losses of 8 images at points, all layers of a decoder of full depth; small masks.

    With the copies of the batch to the GPU, and without the norm of the gradient, one wait more.
    """
    torch.manual_seed(0)
    num_layers, num_queries, num_classes, grid, canvas = 10, 250, 133, 16, 64
    ids = torch.randint(1 + SEGMENTS, (BATCH_SIZE, canvas, canvas))
    classes = [torch.arange(SEGMENTS) for _ in range(BATCH_SIZE)]
    shares = [torch.rand(SEGMENTS, grid * grid) for _ in range(BATCH_SIZE)]
    targets = Targets.stack(shares, classes)
    targets = replace(targets, masks=pose(targets.masks), classes=pose(targets.classes))
    learned = torch.zeros(1, requires_grad=True)
    with counting():
        weight = pose(learned)
        layers = [
            MaskClassification(
                MaskPrediction(
                    queries=pose(torch.zeros(BATCH_SIZE, num_queries, 4)),
                    mask_logits=pose(torch.randn(BATCH_SIZE, num_queries, grid, grid)) + weight,
                    iou_logits=pose(torch.randn(BATCH_SIZE, num_queries)) + weight,
                ),
                pose(torch.randn(BATCH_SIZE, num_queries, num_classes + 1)) + weight,
                pose(torch.zeros(BATCH_SIZE, num_queries, 4)),
                pose(torch.ones(BATCH_SIZE, num_queries, dtype=torch.bool)),
            )
            for _ in range(num_layers)
        ]
    valid = pose(torch.ones(BATCH_SIZE, grid * grid, dtype=torch.bool))
    sizes, seeds = ((canvas, canvas),) * BATCH_SIZE, range(BATCH_SIZE)
    pixels = torch.zeros(BATCH_SIZE, 3, canvas, canvas, dtype=torch.uint8)
    images = ImageBatch(pixels, torch.ones_like(ids, dtype=torch.bool), sizes, sizes)
    with counting() as counts:
        batch = SceneBatch(images, ids, tuple(classes)).to(GPU)
        points = PointSampler(batch.ids, sizes, seeds, num_points=NUM_POINTS)
        config = LossConfig(num_points=NUM_POINTS)
        losses = possam_loss(layers, Truth(targets, valid, points=points), config)
        float(losses.total.detach())  # the loop's, for the log
    return counts


if __name__ == "__main__":
    main()
