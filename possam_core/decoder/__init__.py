"""From SAM's features to masks: feature pyramid, pixel decoder, mask decoder."""

import possam_core.lean_imports  # noqa: F401 - before any module here imports the libraries
