"""FC-CLIP: a mask decoder and a classifier on one frozen CLIP, of the same blocks as PosSAM."""
