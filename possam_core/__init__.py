"""PosSAM: open-vocabulary panoptic segmentation by SAM's features and CLIP's semantics."""
