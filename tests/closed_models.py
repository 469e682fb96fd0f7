"""Tiny models of transformers with weights from a seed, in folders like the published ones."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

MODEL_TYPES = ("eomt", "mask2former", "oneformer")
SIDE = 64  # pixels of EoMT's square
NUM_QUERIES = 8
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CARD = "---\nlibrary_name: transformers\nlicense: mit\n---\n\n# A tiny model\n"
COMMON = {"do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 2}
INPUTS = {
    "eomt": {
        "image_processor_type": "EomtImageProcessorFast",
        "do_pad": True,
        "do_split_image": False,
        "size": {"shortest_edge": SIDE, "longest_edge": SIDE},
    },
    "mask2former": {
        "image_processor_type": "Mask2FormerImageProcessor",
        "size": {"shortest_edge": 48, "longest_edge": 96},
        "size_divisor": 32,
    },
    "oneformer": {
        "image_processor_type": "OneFormerImageProcessor",
        "class_info_file": "coco_panoptic.json",  # which the library would download
        "repo_path": "shi-labs/oneformer_demo",
        "size": {"shortest_edge": 48, "longest_edge": 96},
    },
}
SWIN = {
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 1, 1],
    "window_size": 4,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
DECODER = {
    "hidden_dim": 32,
    "encoder_feedforward_dim": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_attention_heads": 2,
    "dim_feedforward": 16,
    "num_queries": NUM_QUERIES,
}


def write_model(folder: Path, model_type: str, names: Sequence[str] | int) -> Path:
    """A folder with weights, configuration, input and card; a number leaves classes unnamed.

    Classes and masks are far apart, so that some pass the merge's thresholds.
    """
    is_unnamed = isinstance(names, int)
    labels = {"num_labels": names} if is_unnamed else {"id2label": dict(enumerate(names))}
    torch.manual_seed(0)
    network = _network(model_type, labels).eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.startswith(("class_predictor.weight", "mask_head.fc3.weight")):
                weight.mul_(40)
    network.save_pretrained(folder)
    write_input(folder, model_type)
    (folder / "README.md").write_text(CARD)
    return folder


def write_input(folder: Path, model_type: str, **changes: object) -> None:
    """The file that says how images are prepared, with other values for some keys."""
    content = COMMON | {"image_mean": MEAN, "image_std": STD} | INPUTS[model_type] | changes
    (folder / "preprocessor_config.json").write_text(json.dumps(content))


def _network(model_type: str, labels: dict) -> torch.nn.Module:
    import transformers as t

    if model_type == "eomt":
        return t.EomtForUniversalSegmentation(
            t.EomtConfig(
                hidden_size=16,
                num_hidden_layers=3,
                num_attention_heads=2,
                image_size=SIDE,
                patch_size=8,
                num_blocks=2,
                num_queries=NUM_QUERIES,
                num_upscale_blocks=1,
                mlp_ratio=2,
                **labels,
            )
        )
    if model_type == "mask2former":
        return t.Mask2FormerForUniversalSegmentation(
            t.Mask2FormerConfig(
                backbone_config=t.SwinConfig(**SWIN),
                feature_size=32,
                mask_feature_size=32,
                **DECODER,
                **labels,
            )
        )
    return t.OneFormerForUniversalSegmentation(
        t.OneFormerConfig(
            backbone_config=t.SwinConfig(**SWIN),
            conv_dim=32,
            mask_dim=32,
            is_training=False,
            text_encoder_width=16,
            text_encoder_num_layers=1,
            **DECODER,
            **labels,
        )
    )
