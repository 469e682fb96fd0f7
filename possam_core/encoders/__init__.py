"""The frozen encoders: SAM and CLIP towers, their weights, and text embeddings."""

import possam_core.lean_imports  # noqa: F401 - before any module here imports the libraries
