import contextlib
import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from possam_core.images import decode
from possam_core.images.decode import ImageError, ImageErrorCode, decode_image
from tests.factories import encode, make_pixels

# A 9 x 12 picture whose corners distinguish every turn and flip.
UPRIGHT = np.zeros((9, 12, 3), np.uint8)
UPRIGHT[0, 0], UPRIGHT[0, -1], UPRIGHT[-1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
STORED_AS = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT, 1),
    7: np.rot90(UPRIGHT, 2).transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}

# How Pillow turns an upright picture into what such a file stores: 6 and 8 undo each other.
BACK = {1: None, **decode.TURNS, 6: decode.TURNS[8], 8: decode.TURNS[6]}


def code_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    return caught.value.code.value


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_orientation_comes_out_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[decode.EXIF_ORIENTATION_TAG] = orientation
    decoded = decode_image(encode(STORED_AS[orientation], "PNG", exif=exif))
    assert decoded.exif_orientation == orientation
    np.testing.assert_array_equal(decoded.pixels, UPRIGHT)


@pytest.mark.parametrize("orientation", [0, 9, 700])
def test_an_orientation_that_does_not_exist_counts_as_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[decode.EXIF_ORIENTATION_TAG] = orientation
    assert decode_image(encode(UPRIGHT, "PNG", exif=exif)).exif_orientation == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_comes_out_upright(orientation: int) -> None:
    upright = make_pixels(24, 40)
    exif = Image.Exif()
    exif[decode.EXIF_ORIENTATION_TAG] = orientation
    back = BACK[orientation]
    stored = Image.fromarray(upright)
    decoded = decode_image(encode(stored if back is None else stored.transpose(back), exif=exif))
    assert decoded.exif_orientation == orientation
    assert np.abs(decoded.pixels.astype(int) - upright).mean() < 8  # what JPEG loses


def decode_by_pillow(data: bytes, monkeypatch: pytest.MonkeyPatch) -> object:
    """Pixels, or the code and message of the error, when Pillow alone decodes."""
    with monkeypatch.context() as patched:
        patched.setattr(decode, "_decode_plain_jpeg", lambda data, image: None)
        return outcome_of(data)


def outcome_of(data: bytes) -> object:
    try:
        return decode_image(data).pixels.tolist()
    except ImageError as error:
        return error.code, str(error)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {}),
        ("RGB", {"subsampling": 0}),
        ("RGB", {"subsampling": 1, "quality": 40}),
        ("RGB", {"progressive": True}),
        ("RGB", {"keep_rgb": True}),
        ("RGB", {"restart_marker_rows": 1}),
        ("L", {}),
        ("L", {"progressive": True}),
    ],
)
def test_a_plain_jpeg_is_decoded_faster_to_exactly_pillows_pixels(
    mode: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.fromarray(make_pixels(37, 53)).convert(mode)
    data = encode(picture, **options)
    with Image.open(io.BytesIO(data)) as image:
        assert decode._decode_plain_jpeg(data, image) is not None
    assert outcome_of(data) == decode_by_pillow(data, monkeypatch)


def test_a_jpeg_of_four_colours_is_left_to_pillow() -> None:
    data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)))
    with Image.open(io.BytesIO(data)) as image:
        assert decode._decode_plain_jpeg(data, image) is None


@pytest.mark.parametrize("progressive", [False, True])
def test_a_damaged_jpeg_gives_the_same_error_as_with_pillow(
    progressive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(make_pixels(40, 48), progressive=progressive)
    rng = np.random.default_rng(0)
    verdicts = set()
    for position in rng.integers(0, len(data), 60).tolist():
        flipped = data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]
        without = data[:position] + data[position + 3 :]
        for damaged in (flipped, without, data[:position], data[:position] + b"\0\0" + data):
            expected = decode_by_pillow(damaged, monkeypatch)
            assert outcome_of(damaged) == expected
            verdicts.add(expected[0] if isinstance(expected, tuple) else "pixels")
    assert {"pixels", "truncated", "decode_failed"} <= verdicts


def test_sixteen_bit_grey_keeps_its_high_byte() -> None:
    grey = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    pixels = decode_image(encode(Image.fromarray(grey), "PNG")).pixels
    np.testing.assert_array_equal(pixels[..., 0], grey >> 8)


def test_cmyk_is_converted() -> None:
    pixels = decode_image(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)))).pixels
    red, green, blue = pixels[8, 8]
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_come_out_white(mode: str) -> None:
    picture = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    options = {}
    if mode == "P":
        picture, options = picture.convert("RGB").convert("P"), {"transparency": 0}
        picture.paste(0, (0, 0, 16, 16))
    else:
        picture = picture.convert(mode)
    assert (decode_image(encode(picture, "PNG", **options)).pixels == 255).all()


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode_image(data).pixels[0, 0], (255, 0, 0))


@pytest.mark.parametrize("format", decode.FORMATS)
def test_each_format_decodes_to_its_size(format: str) -> None:
    assert decode_image(encode(make_pixels(20, 30), format)).pixels.shape == (20, 30, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_half_a_file_is_truncated(format: str, share: float) -> None:
    data = encode(make_pixels(64, 64), format)
    assert code_of(data[: max(12, int(share * len(data)))]) == "truncated"


def png_of(width: int, height: int) -> bytes:
    """A PNG with that size in its header only."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"<!doctype html><p>404", "not_an_image"),
        (b"\0" * 100, "not_an_image"),
        (b"II*\0" + b"\0" * 20, "unsupported_format"),
        (b"\0\0\0\x20ftypheic" + b"\0" * 20, "unsupported_format"),
        (png_of(16, 16), "decode_failed"),
        (png_of(1, 30_000), "bad_aspect"),
        (png_of(7, 20), "too_small"),
        (png_of(8_000, 8_000), "too_large"),
        (png_of(40_000, 1_000), "too_large"),
        (png_of(60_000, 60_000), "too_large"),  # Pillow's own limit comes first
    ],
)
def test_an_undecodable_file_gets_its_error_code(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_a_file_above_the_byte_limit_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_BYTES", 10)
    assert code_of(encode(UPRIGHT)) == "too_large"


def test_a_flipped_byte_raises_nothing_but_image_errors() -> None:
    data = encode(make_pixels(), "PNG")
    for position in range(0, len(data), 97):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        with contextlib.suppress(ImageError):
            decode_image(bytes(damaged))


def test_an_image_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ImageError(ImageErrorCode.EMPTY, "zero bytes")))
    assert (error.code, str(error)) == ("empty", "zero bytes")


def test_a_plain_image_keeps_its_pixels() -> None:
    pixels = make_pixels(30, 40)
    np.testing.assert_array_equal(decode_image(encode(pixels, "PNG")).pixels, pixels)
