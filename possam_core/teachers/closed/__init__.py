"""Models of the library transformers with fixed classes: EoMT, Mask2Former, OneFormer."""
