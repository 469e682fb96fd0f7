"""The frozen encoders: SAM and CLIP towers, their weights, and text embeddings."""
