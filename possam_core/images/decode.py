"""Image files of any origin -> upright RGB pixels, or the name of what is wrong with them.

Axes: H W pixels of the image.
"""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, UnidentifiedImageError

from possam_core.errors import PossamError, one_line

# An allow-list: other decoders are less tested, and EPS would start Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF",
    b"GIF8",
    b"BM",
)  # of FORMATS, in order
PNG_SIGNATURE = SIGNATURES[1]
PNG_DEPTH_AT = 24  # bytes from the start: of bits a sample
BMP_HEADER_BYTES = (12, 16, 40, 52, 56, 64, 108, 124)
# fmt: off
OTHER_SIGNATURES = (
    b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",  # TIFF
    b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", b"\0\0\0\x0cJXL", b"\xff\x0a",  # JPEG 2000, JPEG XL
    b"\0\0\1\0", b"\0\0\2\0", b"8BPS", b"gimp xcf",  # icon, cursor, layered
    b"%!PS", b"\xc5\xd0\xd3\xc6", b"%PDF",
    b"P5\n", b"P6\n", b"qoif", b"DDS ", b"\x76\x2f\x31\x01",  # the last: EXR
)
# fmt: on

# A 64-megapixel PNG of a few KB costs 757 MB decoded, hence limits on both file and pixels.
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000
MAX_SIDE_PX = 32_768
MAX_ASPECT = 50
MIN_SIDE_PX = 8

PLAIN_COLOURS = ("YCbCr", "RGB", "Gray")  # as simplejpeg calls them

EXIF_ORIENTATION_TAG = 0x0112
UPRIGHT = 1  # the EXIF orientation that needs no rotation
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageErrorCode(StrEnum):
    """The closed set of reasons why an image has no labels."""

    NOT_FOUND = "not_found"  # gone since the plan was made, or not readable
    INPUT_CHANGED = "input_changed"  # other size or content than planned
    CORRUPT_READ = "corrupt_read"  # the store sends fewer bytes than announced
    EMPTY = "empty"  # zero bytes
    NOT_AN_IMAGE = "not_an_image"  # HTML, text, noise
    UNSUPPORTED_FORMAT = "unsupported_format"  # an image, but not of FORMATS
    TRUNCATED = "truncated"  # the file ends before the image does
    DECODE_FAILED = "decode_failed"  # damaged in another way
    TOO_LARGE = "too_large"  # above MAX_BYTES, MAX_PIXELS or MAX_SIDE_PX
    TOO_SMALL = "too_small"  # a side below MIN_SIDE_PX
    BAD_ASPECT = "bad_aspect"  # longer than MAX_ASPECT times its width, or the reverse
    BAD_KEY = "bad_key"  # the store's client cannot address that key
    DECODE_TIMEOUT = "decode_timeout"
    OUT_OF_MEMORY = "out_of_memory"
    POISON = "poison"  # it killed the process that worked on it
    INFERENCE_FAILED = "inference_failed"


class ImageError(PossamError):
    """`ImageError(code, message)`: an image that can never be labelled; its row holds the error."""

    @property
    def code(self) -> ImageErrorCode:
        """One of the closed set."""
        return ImageErrorCode(self.args[0])

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedImage:
    """Upright pixels, and the orientation that the file has stored."""

    pixels: UInt8[ndarray, "H W 3"]  # RGB, after EXIF rotation
    exif_orientation: int  # 1 to 8; 1 if the file has none


def decode_image(data: bytes) -> DecodedImage:
    """Decode the first frame of `data` to upright RGB; transparent pixels come out white.

    Raises:
        ImageError: with the code of the failure.
    """
    if not data:
        raise ImageError(ImageErrorCode.EMPTY, "the file has zero bytes")
    if len(data) > MAX_BYTES:
        raise _too_large(f"{len(data)} bytes, at most {MAX_BYTES} are decoded")
    # Pillow raises OSError, ValueError, SyntaxError, struct.error ... on malformed files: hence the
    # broad clauses here, each of which ends in an error code.
    try:
        file = _without_metadata(data)
        with Image.open(io.BytesIO(file), formats=FORMATS) as image:
            _refuse_extreme_shapes(*image.size)
            pixels = _decode_plain_jpeg(data, image)
            if pixels is None:
                image.load()
                pixels = np.array(_to_rgb(image, file), dtype=np.uint8)
            exif_orientation = _exif_orientation(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(str(error)) from error
    except MemoryError as error:
        raise ImageError(ImageErrorCode.OUT_OF_MEMORY, "decoding ran out of memory") from error
    except Exception as error:
        raise _name_failure(data, error) from error
    if exif_orientation != UPRIGHT:
        turned = Image.fromarray(pixels).transpose(TURNS[exif_orientation])
        pixels = np.array(turned, dtype=np.uint8)
    return DecodedImage(pixels=pixels, exif_orientation=exif_orientation)


def _decode_plain_jpeg(data: bytes, image: Image.Image) -> UInt8[ndarray, "H W 3"] | None:
    """A colour or grey JPEG as Pillow would decode it, faster; None: Pillow has to decode it.

    `strict` rejects everything that libjpeg warns about, such as an early end: Pillow then names
    the error, or tolerates it.
    """
    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if (width, height) != image.size or colours not in PLAIN_COLOURS:
            return None
        pixels: UInt8[ndarray, "H W 3"] = simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except Exception:  # of any kind: Pillow then reads the file and names it
        return None
    return pixels


def _without_metadata(data: bytes) -> bytes:
    """A PNG with only the chunks that its first frame needs; other files unchanged.

    Pillow rejects good pixels beside a long text, a truncated density or a bad checksum of either.
    """
    if not data.startswith(PNG_SIGNATURE):
        return data
    kept, start = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while len(header := data[start : start + 8]) == 8 and header[4:].isalpha():
        end = start + 12 + int.from_bytes(header[:4])
        chunk, kind = data[start:end], header[4:]
        if end > len(data):
            break
        is_sound_exif = kind == b"eXIf" and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if kind[:1].isupper() or kind == b"tRNS" or is_sound_exif:  # upper case: critical
            kept.append(chunk)
        start = end
    return b"".join(kept) + data[start:]


def _refuse_extreme_shapes(width: int, height: int) -> None:
    """Raise because of the size in the header, before any pixel is decoded."""
    short, long = sorted((width, height))
    shape = f"{width} x {height} pixels"
    if long > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise _too_large(f"{shape}, at most {MAX_SIDE_PX} a side and {MAX_PIXELS} in all")
    if long > MAX_ASPECT * short:
        raise ImageError(ImageErrorCode.BAD_ASPECT, f"{shape}, at most {MAX_ASPECT}:1")
    if short < MIN_SIDE_PX:
        raise ImageError(ImageErrorCode.TOO_SMALL, f"{shape}, at least {MIN_SIDE_PX} a side")


def _exif_orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(EXIF_ORIENTATION_TAG, UPRIGHT)
    except Exception:  # damaged metadata does not affect the pixels
        return UPRIGHT
    return value if isinstance(value, int) and value in TURNS else UPRIGHT


def _to_rgb(image: Image.Image, data: bytes) -> Image.Image:
    if image.format == "PNG" and image.mode in ("L", "RGB") and "transparency" in image.info:
        return _without_transparent_colour(image, data)
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips it to white
        grey = np.asarray(image).astype(np.int64)
        high_bytes = (grey >> 8).clip(0, 255).astype(np.uint8)
        high_bytes[grey == image.info.get("transparency", -1)] = 255
        return Image.fromarray(high_bytes).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _without_transparent_colour(image: Image.Image, data: bytes) -> Image.Image:
    """White where a PNG without alpha has the one colour that stands for transparent.

    That colour is in samples of the file's own depth, of which only the low bits count, where
    Pillow's pixels are of 8 bits.
    """
    depth = data[PNG_DEPTH_AT]
    colour = np.atleast_1d(image.info["transparency"]) & (2**depth - 1)
    pixels = np.array(image)
    if depth == 16:  # colours that differ in their low bytes alone are others
        is_transparent = (pixels == colour >> 8) & (_low_bytes(data) == colour & 255)
    else:
        is_transparent = pixels == colour * (255 // (2**depth - 1))
    pixels[is_transparent if image.mode == "L" else is_transparent.all(axis=-1)] = 255
    return Image.fromarray(pixels).convert("RGB")


def _low_bytes(data: bytes) -> UInt8[ndarray, "H W 3"]:
    """The low bytes of a PNG of 16-bit RGB, of which Pillow gives the high ones.

    A PNG has the high byte first; read as if it had the low one first, its low bytes are the high.
    """
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        return np.array(image, dtype=np.uint8)


def _name_failure(data: bytes, error: Exception) -> ImageError:
    reason = one_line(error)
    if not _has_supported_signature(data):
        if _has_other_signature(data):
            message = f"an image or document, but none of {', '.join(FORMATS)}"
            return ImageError(ImageErrorCode.UNSUPPORTED_FORMAT, message)
        return ImageError(ImageErrorCode.NOT_AN_IMAGE, f"the bytes begin with {data[:16]!r}")
    if isinstance(error, UnidentifiedImageError):
        reason = "the header cannot be read"
    if _ends_early(data):
        return ImageError(ImageErrorCode.TRUNCATED, f"the file ends before the image: {reason}")
    return ImageError(ImageErrorCode.DECODE_FAILED, reason)


def _has_supported_signature(data: bytes) -> bool:
    if data.startswith(b"RIFF"):  # also sound and video
        return b"WEBP".startswith(data[8:12])
    if data.startswith(b"BM"):  # also some texts
        return len(data) < 18 or int.from_bytes(data[14:18], "little") in BMP_HEADER_BYTES
    return data.startswith(SIGNATURES)


def _has_other_signature(data: bytes) -> bool:
    head = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    is_svg = head.startswith(b"<?xml") and b"<svg" in head
    is_heif = data[4:8] == b"ftyp"  # HEIC, AVIF
    return is_svg or is_heif or data.startswith(OTHER_SIGNATURES) or head.startswith(b"<svg")


def _ends_early(data: bytes) -> bool:
    """Whether a file of one of FORMATS lacks its end; reliable only after decoding has failed."""
    checks: tuple[Callable[[], bool], ...] = (
        lambda: b"\xff\xd9" not in data[-64:],
        lambda: b"IEND" not in data[-64:],
        lambda: len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data),
        lambda: not data.rstrip(b"\0\r\n").endswith(b"\x3b"),
        lambda: len(data) < 26 or int.from_bytes(data[2:6], "little") > len(data),
    )
    return any(
        data.startswith(signature) and ends_early()
        for signature, ends_early in zip(SIGNATURES, checks, strict=True)
    )


def _too_large(message: str) -> ImageError:
    return ImageError(ImageErrorCode.TOO_LARGE, message)
