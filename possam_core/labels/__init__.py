"""From masks to panoptic labels: merging, RLE, calibration, quality, instances."""
