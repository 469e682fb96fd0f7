"""Advice for each error code of an image without labels."""

from collections.abc import Mapping

from possam_core.images.decode import (
    MAX_ASPECT,
    MAX_BYTES,
    MAX_PIXELS,
    MAX_SIDE_PX,
    MIN_SIDE_PX,
    ImageErrorCode,
)

NEW_RUN = "label it in a new run"  # a plan lists the files as they were

ADVICE: Mapping[ImageErrorCode, str] = {
    ImageErrorCode.NOT_FOUND: "bring the file back or allow reading it, then retry",
    ImageErrorCode.INPUT_CHANGED: f"the file is not the planned one any more; {NEW_RUN}",
    ImageErrorCode.CORRUPT_READ: "check the network and the store, then retry",
    ImageErrorCode.EMPTY: f"upload the file again, for it has no bytes; {NEW_RUN}",
    ImageErrorCode.NOT_AN_IMAGE: "something else, often an error page, has an image's name;"
    f" replace it and {NEW_RUN}, or remove it",
    ImageErrorCode.UNSUPPORTED_FORMAT: f"convert it to JPEG, PNG, WEBP, GIF or BMP; {NEW_RUN}",
    ImageErrorCode.TRUNCATED: f"upload the whole file again; {NEW_RUN}",
    ImageErrorCode.DECODE_FAILED: f"the file is damaged; restore it from its source and {NEW_RUN}",
    ImageErrorCode.TOO_LARGE: f"shrink it to {MAX_BYTES // 2**20} MiB,"
    f" {MAX_PIXELS // 10**6} megapixels and {MAX_SIDE_PX:,} pixels a side at most; {NEW_RUN}",
    ImageErrorCode.TOO_SMALL: f"leave it out: sides start at {MIN_SIDE_PX} pixels",
    ImageErrorCode.BAD_ASPECT: f"cut it into pieces of {MAX_ASPECT}:1 at most; {NEW_RUN}",
    ImageErrorCode.BAD_KEY: "give the object a plain name, or add the host of its web address to"
    f" the allowed ones; {NEW_RUN}",
    ImageErrorCode.DECODE_TIMEOUT: "retry with fewer workers on a machine; leave it out if it"
    " takes too long again",
    ImageErrorCode.OUT_OF_MEMORY: "retry with fewer workers or more memory",
    ImageErrorCode.POISON: "retry once with more memory; if it ends its process again, leave it"
    " out and report it with the file",
    ImageErrorCode.INFERENCE_FAILED: "read the message, fix what it names, then retry",
}

# Errors with which the same file may be labelled in a retry; the others need another file.
CAN_RETRY = frozenset(
    {
        ImageErrorCode.NOT_FOUND,
        ImageErrorCode.CORRUPT_READ,
        ImageErrorCode.DECODE_TIMEOUT,
        ImageErrorCode.OUT_OF_MEMORY,
        ImageErrorCode.POISON,
        ImageErrorCode.INFERENCE_FAILED,
    }
)
