"""A zoo of odd and damaged image files, each with what must become of it; and odd object keys.

Longer than a module should be, since its encoders serve nothing but the animals below them.

Nearly all show the same picture of 64 x 48 pixels: red and green above, blue and yellow below.
"""

import struct
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageChops, ImageCms

from tests.factories import encode

Rgb = tuple[int, int, int]

HEIGHT, WIDTH = 48, 64
RED, GREEN, BLUE, YELLOW = (220, 40, 40), (40, 200, 40), (40, 60, 220), (230, 220, 60)
WHITE: Rgb = (255, 255, 255)
COLOURS = (RED, GREEN, BLUE, YELLOW)
GREYS = (40, 110, 180, 250)
TURNS = (0, 2, 3, 4, 5, 8, 7, 6)  # what undoes EXIF orientations 1 to 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooImage:
    """A file and what decoding it must give: an error code, or a size and roughly these colours."""

    name: str  # a file name, unique in the zoo
    data: bytes
    error_code: str | None = None
    image_hw: tuple[int, int] | None = None
    colour: Mapping[tuple[int, int], Rgb] | None = None  # by row and column


def make_zoo() -> list[ZooImage]:
    """Every animal, the same each time."""
    families = (_cut_short, _jpegs, _turned, _pngs, _transparent, _webps_and_gifs, _bmps)
    others = (_damaged_metadata, _followed, _extreme, _damaged_headers, _no_images, _other_formats)
    return [animal for family in (*families, *others) for animal in family()]


def _good(name: str, data: bytes, colours: Sequence[Rgb | int] = COLOURS) -> ZooImage:
    """A file that shows one of four `colours` in each quadrant."""
    places = ((4, 4), (4, WIDTH - 5), (HEIGHT - 5, 4), (HEIGHT - 5, WIDTH - 5))
    rgb = [(c, c, c) if isinstance(c, int) else c for c in colours]
    colour = dict(zip(places, rgb, strict=True))
    return ZooImage(name=name, data=data, image_hw=(HEIGHT, WIDTH), colour=colour)


def _bad(name: str, data: bytes, error_code: str) -> ZooImage:
    return ZooImage(name=name, data=data, error_code=error_code)


def _quadrants(values: Sequence[object], dtype: type = np.uint8) -> np.ndarray:
    """A picture with one value, or one list of channels, in each quadrant."""
    corners = np.array(values, dtype).reshape(2, 2, -1)
    picture = corners.repeat(HEIGHT // 2, axis=0).repeat(WIDTH // 2, axis=1)
    return picture[..., 0] if picture.shape[2] == 1 else picture


def _photo() -> Image.Image:
    """The picture with noise, so that its files are not too short to be damaged."""
    noise = np.random.default_rng(0).integers(-10, 11, (HEIGHT, WIDTH, 3))
    return Image.fromarray((_quadrants(COLOURS) + noise).clip(0, 255).astype(np.uint8))


def _cut_short() -> Iterator[ZooImage]:
    for name, data in _plain_files().items():
        stem, _, ending = name.partition(".")
        bits = {12, 20, 64, *(len(data) * share // 100 for share in (10, 25, 50, 75, 90, 97))}
        for length in sorted(bits):
            yield _bad(f"cut-{stem}-{length}.{ending}", data[:length], "truncated")
        almost = data[: -2 if ending == "gif" else -1]
        # What lacks but its end mark shows the whole picture, except where decoders wait for it.
        whole = ending in ("png", "gif")
        animal = _good(f"cut-{stem}-end.{ending}", almost)
        yield animal if whole else _bad(animal.name, almost, "truncated")


def _plain_files() -> dict[str, bytes]:
    photo = _photo()
    return {
        "baseline.jpg": encode(photo),
        "progressive.jpg": encode(photo, progressive=True),
        "grey.jpg": encode(photo.convert("L")),
        "cmyk.jpg": encode(photo.convert("CMYK")),
        "rgb.png": encode(photo, "PNG"),
        "interlaced.png": _interlaced_png(np.asarray(photo)),
        "lossy.webp": encode(photo, "WEBP", quality=95),
        "lossless.webp": encode(photo, "WEBP", lossless=True),
        "palette.gif": encode(photo, "GIF"),
        "rgb.bmp": encode(photo, "BMP"),
    }


def _jpegs() -> Iterator[ZooImage]:
    for name, data in _plain_files().items():
        if "grey" not in name:
            yield _good(f"plain-{name}", data)
    photo = _photo()
    yield _good("grey.jpg", encode(Image.fromarray(_quadrants(GREYS))), GREYS)
    options: dict[str, dict[str, object]] = {
        **{f"subsampling-{s}": {"subsampling": s} for s in ("4:4:4", "4:2:2", "4:2:0")},
        **{f"quality-{q}": {"quality": q} for q in (20, 100)},
        "restarts": {"restart_marker_rows": 1},
        "restarts-progressive": {"restart_marker_rows": 1, "progressive": True},
        "stored-as-rgb": {"keep_rgb": True},
        "comment": {"comment": b"\xff\xd9" * 30_000},
        "optimised": {"optimize": True},
    }
    for name, option in options.items():
        yield _good(f"{name.replace(':', '')}.jpg", encode(photo, **option))
    plain = encode(photo)
    yield _good("without-jfif.jpg", plain[:2] + plain[20:])
    yield _good("fill-bytes.jpg", plain[:20] + b"\xff" * 9 + plain[20:])
    comment = b"\xff\xfe\xff\xff".ljust(2**16 + 1)
    yield _good("comments-of-2-mb.jpg", plain[:2] + comment * 32 + plain[2:])
    second = Image.new("RGB", (WIDTH, HEIGHT), "black")
    yield _good("two-pictures.jpg", encode(photo, "MPO", save_all=True, append_images=[second]))
    yield from _four_colour_jpegs(photo)
    middle, noise = len(plain) - 250, bytes(np.random.default_rng(1).integers(0, 255, 40, np.uint8))
    damaged = plain[:middle] + noise + plain[middle + 40 :]
    top = {(4, 4): RED, (4, WIDTH - 5): GREEN}  # what comes before the noise stays
    yield replace(_good("noise-in-the-middle.jpg", damaged), colour=top)


def _four_colour_jpegs(photo: Image.Image) -> Iterator[ZooImage]:
    """Adobe's JPEGs hold inverted inks; those that do not say so mean the same."""
    adobe = encode(photo.convert("CMYK"), subsampling=0)
    marker = adobe.index(b"\xff\xee")
    yield _good("cmyk-without-marker.jpg", adobe[:marker] + adobe[marker + 16 :])
    for progressive in (False, True):
        # A YCCK file holds YCbCr of the inks' colour and, inverted like them, black.
        ycc = np.asarray(ImageChops.invert(photo).convert("YCbCr"))
        inks = np.dstack([ycc, np.full((HEIGHT, WIDTH), 255, np.uint8)])
        data = encode(Image.fromarray(255 - inks, "CMYK"), subsampling=0, progressive=progressive)
        transform = data.index(b"\xff\xee") + 15
        ycck = data[:transform] + b"\2" + data[transform + 1 :]
        yield _good(f"ycck{'-progressive' * progressive}.jpg", ycck)


def _turned() -> Iterator[ZooImage]:
    photo = _photo()
    for orientation, undo in enumerate(TURNS, start=1):
        exif = _exif(orientation)
        stored = photo.transpose(Image.Transpose(_method(undo))) if undo else photo
        for format in ("JPEG", "PNG", "WEBP"):
            data = encode(stored, format, exif=exif)
            yield _good(f"turned-{orientation}.{format.lower().replace('jpeg', 'jpg')}", data)
    turned = photo.transpose(Image.Transpose.ROTATE_90)  # what orientation 6 undoes
    big_endian = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    yield _good("turned-6-big-endian.jpg", encode(turned, exif=big_endian))
    yield _good("turned-6-cmyk.jpg", encode(turned.convert("CMYK"), exif=_exif(6)))
    plain = encode(turned, "PNG")
    late = plain[:-12] + _chunk(b"eXIf", _exif(6)[6:]) + plain[-12:]
    yield _good("turned-6-exif-after-pixels.png", late)


def _method(orientation: int) -> int:
    """Pillow's number of the turn that EXIF `orientation` asks for."""
    methods = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    return methods[orientation]


def _exif(orientation: int, kind: int = 3) -> bytes:
    """Little-endian EXIF that holds an orientation, rightly a SHORT (3)."""
    entry = struct.pack("<HHIHH", 0x0112, kind, 1, orientation, 0)
    return b"Exif\0\0II*\0\x08\0\0\0\1\0" + entry + b"\0\0\0\0"


def _chunk(kind: bytes, content: bytes, *, flip: int = 0) -> bytes:
    """A chunk of a PNG; `flip` damages its checksum."""
    checksum = struct.pack(">I", zlib.crc32(kind + content) ^ flip)
    return struct.pack(">I", len(content)) + kind + content + checksum


def _png(
    rows: Sequence[bytes],
    depth: int,
    colour_type: int,
    extra: bytes = b"",
    *,
    hw: tuple[int, int] = (HEIGHT, WIDTH),
) -> bytes:
    """A PNG of unfiltered `rows`, with `extra` chunks before its pixels."""
    header = struct.pack(">IIBBBBB", hw[1], hw[0], depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    body = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", pixels)
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def _rows(values: Sequence[object], depth: int) -> list[bytes]:
    """Rows of a PNG whose quadrants hold `values` of `depth` bits a channel."""
    picture = _quadrants(values, np.uint16)
    if depth < 8:
        bits = np.unpackbits(picture.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        return [row.tobytes() for row in np.packbits(bits.reshape(HEIGHT, -1), axis=-1)]
    return [row.tobytes() for row in picture.astype(">u2" if depth == 16 else np.uint8)]


def _interlaced_png(picture: np.ndarray, depth: int = 8, colour_type: int = 2) -> bytes:
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2))
    passes += ((0, 1, 2, 2), (1, 0, 2, 1))
    stored = picture.astype(">u2" if depth == 16 else np.uint8)
    rows = [row.tobytes() for y, x, dy, dx in passes for row in stored[y::dy, x::dx]]
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour_type, 0, 0, 1)
    plain = _png(rows, depth, colour_type)
    return plain[:8] + _chunk(b"IHDR", header) + plain[33:]


def _palette(colours: Sequence[Rgb] = COLOURS) -> bytes:
    return _chunk(b"PLTE", bytes(value for colour in colours for value in colour))


def _pngs() -> Iterator[ZooImage]:
    black_or_white = [0, 255, 255, 0]
    yield _good("grey-1.png", _png(_rows([0, 1, 1, 0], 1), 1, 0), black_or_white)
    yield _good("grey-2.png", _png(_rows([0, 1, 2, 3], 2), 2, 0), [0, 85, 170, 255])
    yield _good("grey-4.png", _png(_rows([0, 5, 10, 15], 4), 4, 0), [0, 85, 170, 255])
    yield _good("grey-8.png", _png(_rows(GREYS, 8), 8, 0), GREYS)
    deep_greys = [grey * 257 for grey in GREYS]
    yield _good("grey-16.png", _png(_rows(deep_greys, 16), 16, 0), GREYS)
    deep = np.array(COLOURS) * 257
    yield _good("rgb-8.png", _png(_rows(COLOURS, 8), 8, 2))
    yield _good("rgb-16.png", _png(_rows(deep, 16), 16, 2))
    two = _png(_rows([0, 1, 1, 0], 1), 1, 3, _palette((RED, BLUE)))
    yield _good("palette-1.png", two, (RED, BLUE, BLUE, RED))
    for depth in (2, 4, 8):
        data = _png(_rows(range(4), depth), depth, 3, _palette())
        yield _good(f"palette-{depth}.png", data)
    grey_16 = _interlaced_png(_quadrants(deep_greys, np.uint16), 16, 0)
    yield _good("interlaced-grey-16.png", grey_16, GREYS)
    rgba = _quadrants([(*colour, 255) for colour in COLOURS])
    yield _good("interlaced-rgba.png", _interlaced_png(rgba, 8, 6))
    plain = _png(_rows(COLOURS, 8), 8, 2)
    pixels = plain[41:-16]
    crumbs = b"".join(_chunk(b"IDAT", pixels[i : i + 1]) for i in range(len(pixels)))
    empty = _chunk(b"IDAT", b"")
    yield _good("pixels-in-crumbs.png", plain[:33] + empty + crumbs + empty + plain[-12:])
    for name, extra in {
        "gamma": _chunk(b"gAMA", struct.pack(">I", 100_000)),
        "unknown-chunk": _chunk(b"zooX", b"?" * 100),
        "palette-suggested": _palette(),
        "background": _chunk(b"bKGD", b"\0\0\0\0\0\0"),
        "text-of-3-mb": _chunk(b"tEXt", b"Comment\0" + b"x" * 3 * 2**20),
    }.items():
        yield _good(f"{name}.png", plain[:33] + extra + plain[33:])


def _transparent() -> Iterator[ZooImage]:
    """What is transparent comes out white, what is half so as a mixture with white."""
    mixed = [WHITE, (147, 227, 147), BLUE, YELLOW]
    alphas = (0, 128, 255, 255)
    rgba = [(*colour, alpha) for colour, alpha in zip(COLOURS, alphas, strict=True)]
    grey_alpha = list(zip(GREYS, alphas, strict=True))
    mixed_greys = [255, 182, 180, 250]
    for depth, scale in ((8, 1), (16, 257)):
        values = np.array(rgba) * scale
        yield _good(f"rgba-{depth}.png", _png(_rows(values, depth), depth, 6), mixed)
        values = np.array(grey_alpha) * scale
        yield _good(f"grey-alpha-{depth}.png", _png(_rows(values, depth), depth, 4), mixed_greys)
        # One colour means transparency.
        key = _chunk(b"tRNS", struct.pack(">3H", *(np.array(RED) * scale)))
        data = _png(_rows(np.array(COLOURS) * scale, depth), depth, 2, key)
        yield _good(f"rgb-{depth}-key.png", data, [WHITE, *COLOURS[1:]])
        key = _chunk(b"tRNS", struct.pack(">H", GREYS[0] * scale))
        data = _png(_rows(np.array(GREYS) * scale, depth), depth, 0, key)
        yield _good(f"grey-{depth}-key.png", data, [255, *GREYS[1:]])
    key = _chunk(b"tRNS", b"\0\0")
    yield _good("grey-1-key.png", _png(_rows([0, 1, 1, 0], 1), 1, 0, key), [255] * 4)
    for depth in (2, 4, 8):
        extra = _palette() + _chunk(b"tRNS", bytes(alphas[:2]))
        data = _png(_rows(range(4), depth), depth, 3, extra)
        yield _good(f"palette-{depth}-transparent.png", data, mixed)
    picture = Image.fromarray(_quadrants(rgba))
    yield _good("transparent.webp", encode(picture, "WEBP", lossless=True, exact=True), mixed)
    yield _good("transparent-lossy.webp", encode(picture, "WEBP", quality=95), mixed)
    clear = [WHITE, *COLOURS[1:]]
    indices = Image.fromarray(_quadrants(range(4)), "P")
    indices.putpalette([value for colour in COLOURS for value in colour])
    yield _good("transparent.gif", encode(indices, "GIF", transparency=0), clear)


def _webps_and_gifs() -> Iterator[ZooImage]:
    photo = _photo()
    frames = [photo, Image.new("RGB", photo.size, "black"), Image.new("RGB", photo.size, "white")]
    animated = {"save_all": True, "append_images": frames[1:], "duration": 100}
    for format in ("GIF", "WEBP", "PNG"):
        yield _good(f"animated.{format.lower()}", encode(photo, format, **animated))
    yield _good("animated-hidden-still.png", encode(photo, "PNG", default_image=True, **animated))
    yield _good("animated-lossless.webp", encode(photo, "WEBP", lossless=True, **animated))
    yield _good("grey.webp", encode(Image.fromarray(_quadrants(GREYS)), "WEBP"), GREYS)
    for interlace in (0, 1):
        yield _good(f"interlace-{interlace}.gif", encode(photo, "GIF", interlace=interlace))
    plain = encode(photo, "GIF")
    yield _good("gif87a.gif", b"GIF87a" + plain[6:])
    small = encode(photo.crop((0, 0, WIDTH // 2, HEIGHT // 2)), "GIF")
    screen = small[:6] + struct.pack("<HH", WIDTH, HEIGHT) + small[10:]
    partial = _good("frame-smaller-than-screen.gif", screen)
    yield replace(partial, colour={(4, 4): RED})  # the rest is of the background's colour


def _bmp(
    pixels: bytes,
    bits: int,
    *,
    height: int = HEIGHT,
    compression: int = 0,
    after_header: bytes = b"",
    header_bytes: int = 40,
) -> bytes:
    fields = (header_bytes, WIDTH, height, 1, bits, compression, len(pixels), 2835, 2835, 0, 0)
    header = struct.pack("<IiiHHIIiiII", *fields) + after_header
    offset = 14 + len(header)
    return struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset) + header + pixels


def _bmps() -> Iterator[ZooImage]:
    upside_down = _quadrants(COLOURS)[::-1]
    bgr = upside_down[..., ::-1].tobytes()
    bgrx = np.dstack([upside_down[..., ::-1], np.zeros((HEIGHT, WIDTH), np.uint8)])
    yield _good("bgr-24.bmp", _bmp(bgr, 24))
    top_down = np.ascontiguousarray(_quadrants(COLOURS)[..., ::-1]).tobytes()
    yield _good("top-down.bmp", _bmp(top_down, 24, height=-HEIGHT))
    yield _good("bgrx-32.bmp", _bmp(bgrx.tobytes(), 32))
    red, green, blue = np.moveaxis(upside_down.astype(np.uint16) >> 3, -1, 0)
    yield _good("rgb-555.bmp", _bmp((red << 10 | green << 5 | blue).astype("<u2").tobytes(), 16))
    masks = struct.pack("<3I", 0xF800, 0x7E0, 0x1F)
    rgb_565 = (red << 11 | green << 6 | blue).astype("<u2").tobytes()
    yield _good("rgb-565.bmp", _bmp(rgb_565, 16, compression=3, after_header=masks))
    bgra = bgrx.copy()
    bgra[..., 3] = _quadrants([0, 128, 255, 255])[::-1]
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    version_4 = {"compression": 3, "header_bytes": 108, "after_header": masks.ljust(68, b"\0")}
    mixed = [WHITE, (147, 227, 147), BLUE, YELLOW]
    yield _good("bgra-32.bmp", _bmp(bgra.tobytes(), 32, **version_4), mixed)
    version_5 = {"header_bytes": 124, "after_header": b"\0" * 84}
    yield _good("version-5.bmp", _bmp(bgr, 24, **version_5))
    os2 = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    os2_file = struct.pack("<2sIHHI", b"BM", 26 + len(bgr), 0, 0, 26) + os2 + bgr
    yield _good("os2.bmp", os2_file)
    yield from _palette_bmps()


def _palette_bmps() -> Iterator[ZooImage]:
    palette = b"".join(bytes(colour[::-1]) + b"\0" for colour in COLOURS)
    indices = _quadrants(range(4))[::-1]
    eight, four = palette.ljust(1024, b"\0"), palette.ljust(64, b"\0")
    yield _good("palette-8.bmp", _bmp(indices.tobytes(), 8, after_header=eight))
    nibbles = (indices[:, ::2] << 4 | indices[:, 1::2]).tobytes()
    yield _good("palette-4.bmp", _bmp(nibbles, 4, after_header=four))
    halves = ((2, 3), (0, 1))
    runs = b"".join((bytes((32, a, 32, b)) + b"\0\0") * 24 for a, b in halves) + b"\0\1"
    yield _good("rle-8.bmp", _bmp(runs, 8, compression=1, after_header=eight))
    runs = b"".join((bytes((32, a * 17, 32, b * 17)) + b"\0\0") * 24 for a, b in halves) + b"\0\1"
    yield _good("rle-4.bmp", _bmp(runs, 4, compression=2, after_header=four))
    one_bit = np.packbits(_quadrants([0, 1, 1, 0])[::-1], axis=-1).tobytes()
    two = palette[:8]
    yield _good("palette-1.bmp", _bmp(one_bit, 1, after_header=two), (RED, GREEN, GREEN, RED))


def _damaged_metadata() -> Iterator[ZooImage]:
    """The pixels are good whatever stands beside them, and upright unless it says else legibly."""
    photo = _photo()
    entry = b"\x12\1\3\0\1\0\0\0\6\0\0\0"
    start = b"Exif\0\0II*\0\x08\0\0\0"
    for name, exif in {
        "garbage": b"Exif\0\0" + b"\xa7" * 50,
        "empty": b"Exif\0\0",
        "cut": _exif(6)[:18],
        "offset-beyond-end": b"Exif\0\0II*\0\xff\xff\0\0" + entry,
        "65535-entries": start + b"\xff\xff" + b"\xa7" * 12,
        "value-beyond-end": start + b"\1\0\x12\1\3\0\xff\0\0\0\xff\xff\xff\x7f\0\0\0\0",
        "orientation-0": _exif(0),
        "orientation-9": _exif(9),
        "orientation-as-text": _exif(ord("6"), kind=2),
        "loop": start + b"\0\0\x08\0\0\0",
    }.items():
        for format in ("JPEG", "WEBP"):
            ending = format.lower().replace("jpeg", "jpg")
            yield _good(f"exif-{name}.{ending}", encode(photo, format, exif=exif))
    yield from _odd_profiles(photo)
    yield from _damaged_png_metadata(photo)


def _odd_profiles(photo: Image.Image) -> Iterator[ZooImage]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # without the date of today
    for name, icc in {
        "srgb": profile,
        "garbage": b"\xa7" * 500,
        "cut": profile[:100],
        "of-200-kb": profile.ljust(200_000, b"\0"),
    }.items():
        for format in ("JPEG", "PNG", "WEBP"):
            ending = format.lower().replace("jpeg", "jpg")
            yield _good(f"icc-{name}.{ending}", encode(photo, format, icc_profile=icc))


def _damaged_png_metadata(photo: Image.Image) -> Iterator[ZooImage]:
    plain = encode(photo, "PNG")
    large = zlib.compress(b"x" * 3 * 2**20)
    for name, chunk in {
        "compressed-text-of-3-mb": _chunk(b"zTXt", b"Comment\0\0" + large),
        "international-text-of-3-mb": _chunk(b"iTXt", b"Comment\0\1\0\0\0" + large),
        "icc-of-3-mb": _chunk(b"iCCP", b"icc\0\0" + large),
        "text-checksum": _chunk(b"tEXt", b"Comment\0hello", flip=1),
        "time-checksum": _chunk(b"tIME", b"\7\xea\1\1\0\0\0", flip=1),
        "text-not-deflated": _chunk(b"zTXt", b"Comment\0\0" + b"\xa7" * 20),
        "density-cut": _chunk(b"pHYs", b"\0\0"),
        "gamma-cut": _chunk(b"gAMA", b"\0"),
    }.items():
        yield _good(f"{name}-before.png", plain[:33] + chunk + plain[33:])
        yield _good(f"{name}-after.png", plain[:-12] + chunk + plain[-12:])
    checksum = _chunk(b"tEXt", b"Comment\0hello", flip=1)
    turned = encode(photo.transpose(Image.Transpose.ROTATE_90), "PNG", exif=_exif(6)[6:])
    yield _good("text-checksum-turned-6.png", turned[:33] + checksum + turned[33:])
    bad_exif = _chunk(b"eXIf", _exif(6)[6:], flip=1)
    yield _good("exif-checksum.png", plain[:33] + bad_exif + plain[33:])
    pixels = plain[:-16] + bytes(4) + plain[-12:]  # deflate has a checksum of its own
    yield _good("pixel-checksum.png", pixels)


def _followed() -> Iterator[ZooImage]:
    """Bytes after the end of an image are ignored."""
    for name, data in _plain_files().items():
        if "grey" in name:
            continue
        for tail_name, tail in {
            "zeros": b"\0" * 500,
            "noise": np.random.default_rng(2).integers(0, 256, 999, np.uint8).tobytes(),
            "itself": data,
        }.items():
            stem, _, ending = name.partition(".")
            yield _good(f"{stem}-then-{tail_name}.{ending}", data + tail)
    yield _good("png-called.jpg", encode(_photo(), "PNG"))
    yield _good("jpeg-called.png", encode(_photo()))
    yield _good("gif-called.bmp", encode(_photo(), "GIF"))
    yield _good("webp-called.jpg", encode(_photo(), "WEBP", quality=95))


def _blank(height: int, width: int, *, num_rows: int | None = None) -> bytes:
    """A black PNG of one bit a pixel, a few KB however large; or one that lacks rows."""
    row = bytes(-(-width // 8))
    return _png([row] * (height if num_rows is None else num_rows), 1, 0, hw=(height, width))


def _extreme() -> Iterator[ZooImage]:
    yield _bad("zero-bytes.jpg", b"", "empty")
    for height, width, code in (
        (8_000, 8_000, "too_large"),
        (1, 30_000, "bad_aspect"),
        (30_000, 1, "bad_aspect"),
        (8, 401, "bad_aspect"),
        (1, 1, "too_small"),
        (7, 7, "too_small"),
        (7, 64, "too_small"),
        (64, 7, "too_small"),
    ):
        yield _bad(f"{height}-by-{width}.png", _blank(height, width), code)
    for height, width in ((8, 8), (8, 400), (400, 8), (656, 32_768)):
        black = {(height - 1, width - 1): (0, 0, 0)}
        animal = _good(f"{height}-by-{width}.png", _blank(height, width))
        yield replace(animal, image_hw=(height, width), colour=black)
    yield from _false_claims()


def _false_claims() -> Iterator[ZooImage]:
    """Headers that promise far more pixels than follow."""
    for height, width in ((7_000, 7_200), (1_000, 32_769), (32_769, 1_000), (60_000, 60_000)):
        data = _blank(height, width, num_rows=1)
        yield _bad(f"claims-{height}-by-{width}.png", data, "too_large")
    jpeg, gif, bmp, webp = (encode(_photo(), f) for f in ("JPEG", "GIF", "BMP", "WEBP"))
    frame = jpeg.index(b"\xff\xc0") + 5
    for name, data, start, size in (
        ("65500-by-65500.jpg", jpeg, frame, struct.pack(">HH", 65_500, 65_500)),
        ("65535-by-65535.gif", gif, 6, struct.pack("<HH", 65_535, 65_535)),
        ("50000-by-50000.bmp", bmp, 18, struct.pack("<ii", 50_000, 50_000)),
        ("16383-by-16383.webp", webp, 26, struct.pack("<HH", 16_383, 16_383)),
    ):
        yield _bad(f"claims-{name}", data[:start] + size + data[start + len(size) :], "too_large")


def _flip(data: bytes, position: int, bits: int = 0xFF) -> bytes:
    return data[:position] + bytes((data[position] ^ bits,)) + data[position + 1 :]


def _damaged_headers() -> Iterator[ZooImage]:
    """Only such damage whose outcome is certain: most flipped bytes of a JPEG go unnoticed."""
    jpeg, png, gif, bmp, webp = (
        encode(_photo(), format) for format in ("JPEG", "PNG", "GIF", "BMP", "WEBP")
    )
    for name, data in {"jpg": jpeg, "png": png, "gif": gif, "bmp": bmp, "webp": webp}.items():
        yield _bad(f"flipped-first-byte.{name}", _flip(data, 0), "not_an_image")
    for position in range(16, 33):
        yield _bad(f"flipped-{position}.png", _flip(png, position), "decode_failed")
    pixels = png.index(b"IDAT") + 4
    yield _bad("noise-in-pixels.png", png[:500] + b"\xa7" * 64 + png[564:], "decode_failed")
    yield _bad("flipped-zlib-header.png", _flip(png, pixels), "decode_failed")
    plain = _png(_rows(range(4), 8), 8, 3)
    yield _bad("palette-missing.png", plain, "decode_failed")
    header, ending = png[:33], png[-12:]
    yield _bad("without-pixels.png", header + ending, "decode_failed")
    frame = jpeg.index(b"\xff\xc0")
    for name, position in {"precision": 4, "components": 9, "length": 3}.items():
        yield _bad(f"flipped-{name}.jpg", _flip(jpeg, frame + position), "decode_failed")
    yield _bad("without-frame.jpg", jpeg[:frame] + jpeg[frame + 19 :], "decode_failed")
    table = jpeg.index(b"\xff\xc4")
    yield _bad("flipped-huffman-table.jpg", _flip(jpeg, table + 5), "decode_failed")
    yield _bad("flipped-version.gif", _flip(gif, 4), "decode_failed")
    yield _bad("flipped-bits.bmp", _flip(bmp, 28), "decode_failed")
    yield _bad("flipped-compression.bmp", _flip(bmp, 30), "decode_failed")
    yield _bad("flipped-kind.webp", _flip(webp, 13), "decode_failed")
    yield _bad("flipped-start-code.webp", _flip(webp, 23), "decode_failed")


def _no_images() -> Iterator[ZooImage]:
    photo = _photo()
    html = b"<!DOCTYPE html>\n<html><body><svg/><h1>404 Not Found</h1></body></html>"
    for name, data in {
        "html": html,
        "html-after-bom": b"\xef\xbb\xbf  " + html,
        "s3-error": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        "json": b'{"error": "rate limited"}',
        "text": b"Not an image.\n",
        "text-about-cars": b"BMW and Mercedes are makers of cars. " * 9,
        "utf-16": "Not an image.".encode("utf-16"),
        "line-feeds": b"\n" * 50,
        "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64,
        "base64": b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRo",
        "zeros": b"\0" * 1000,
        "ones": b"\xff" * 1000,
        "noise": np.random.default_rng(3).integers(0, 256, 1000, np.uint8).tobytes(),
        "one-byte": b"x",
        "zip": b"PK\3\4\x14\0\0\0\x08\0".ljust(60, b"\0"),
        "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\3" + encode(photo),
        "sound": b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0" + b"\0" * 28,
        "video": b"RIFF\x24\0\0\0AVI LIST" + b"\0" * 28,
        "parquet": b"PAR1" + b"\0" * 30 + b"PAR1",
        "program": b"\x7fELF\2\1\1" + b"\0" * 50,
        "pickle": b"\x80\4\x95\x0b\0\0\0\0\0\0\0\x8c\7payload\x94.",
        "jpeg-after-line-feed": b"\r\n" + encode(photo),
        "png-as-text": encode(photo, "PNG").replace(b"\r\n", b"\n"),
    }.items():
        yield _bad(f"really-{name}.jpg", data, "not_an_image")


def _other_formats() -> Iterator[ZooImage]:
    photo = _photo()
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48"/>'
    for name, data in {
        "svg": svg,
        "svg-with-prolog": b'<?xml version="1.0"?>\n<!-- drawn -->\n' + svg,
        "svg-after-bom": b"\xef\xbb\xbf\n" + svg,
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n%%EOF",
        "eps": encode(photo, "EPS"),
        "eps-of-dos": b"\xc5\xd0\xd3\xc6" + b"\0" * 30,
        "tiff": encode(photo, "TIFF"),
        "tiff-big-endian": b"MM\0*\0\0\0\x08" + b"\0" * 20,
        "tiff-big": b"II+\0\x08\0\0\0" + b"\0" * 20,
        "photoshop": b"8BPS\0\1" + b"\0" * 30,
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40,
        "avif": encode(photo, "AVIF"),
        "icon": encode(photo, "ICO"),
        "cursor": b"\0\0\2\0\1\0" + b"\0" * 40,
        "jpeg-2000": encode(photo, "JPEG2000"),
        "jpeg-2000-stream": encode(photo, "JPEG2000", no_jp2=True),
        "jpeg-xl": b"\xff\x0a" + b"\0" * 40,
        "jpeg-xl-boxes": b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 40,
        "portable-pixmap": encode(photo, "PPM"),
        "qoi": encode(photo, "QOI"),
        "tga": encode(photo, "TGA"),
        "dds": encode(photo, "DDS"),
        "exr": b"\x76\x2f\x31\x01\2\0\0\0" + b"\0" * 40,
        "gimp": b"gimp xcf v011\0" + b"\0" * 40,
    }.items():
        yield _bad(f"really-{name}.jpg", data, "unsupported_format")


ODD_CHARACTERS = " %+&?#=;:@$*[]~|<>{}^`'\"\\!(),"

ODD_NAMES = (
    *(f"a{character}b.jpg" for character in ODD_CHARACTERS),
    *("%2F.jpg", "a%2Fb.jpg", "%00.jpg", "%E9.jpg", "100%.jpg", "s3:;a.jpg", "C:\\a.jpg"),
    *("a?versionId=x.jpg", "a?versionId=null&x=.jpg", " leading space.jpg", "space at end .jpg"),
    *("dots at end....jpg", "...jpg", ".hidden.jpg", "folder./a.jpg", "a.jpg/a.jpg", ".../a.jpg"),
    unicodedata.normalize("NFC", "Müller.jpg"),
    unicodedata.normalize("NFD", "Müller.jpg"),
    *("写真.jpg", "фото.jpg", "صورة.jpg", "תמונה.jpg", "รูป.jpg", "फ़ोटो.jpg"),
    *("\U0001f436.jpg", "\U0001f468\u200d\U0001f467.jpg"),  # a dog; two emoji joined to one
    *("\ufeffbom.jpg", "\u202egpj.exe.jpg", "\x85next line.jpg"),
    "/".join(["k" * 100] * 10) + "k" * 7 + ".jpg",  # 1,024 bytes with the prefix: S3's limit
)
UNADDRESSABLE_NAMES = (
    *("/leading.jpg", "a//b.jpg", "../up.jpg", "a/../b.jpg", "./here.jpg", "a/./b.jpg"),
    *("\x01.jpg", "a\nb.jpg", "a\tb.jpg", "a\rb.jpg", "\x7f.jpg", "\0.jpg"),
)

# Keys that S3 takes, and whether obstore, which reads images, can ask for them.
ODD_KEYS: list[tuple[str, bool]] = [
    *((f"odd/{name}", True) for name in ODD_NAMES),
    *((f"odd/{name}", False) for name in UNADDRESSABLE_NAMES),
]
