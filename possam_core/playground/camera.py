"""From the light of a scene to a photograph of it.

Axes: H W pixels.
"""

import io

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray
from numpy.random import Generator
from PIL import Image, ImageFilter

from possam_core.playground.style import Camera


def photograph(
    rgb: Float32[ndarray, "3 H W"], camera: Camera, rng: Generator
) -> UInt8[ndarray, "H W 3"]:
    """Scene-wide light, blur, sensor noise and, in some scenes, JPEG."""
    _, height, width = rgb.shape
    gain = rng.uniform(*camera.gain) * rng.uniform(*camera.tint, (3, 1, 1))
    gain = gain * np.reshape(camera.cast, (3, 1, 1))
    slope_x, slope_y = rng.uniform(-camera.light_fall, camera.light_fall, 2).astype(np.float32)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    fall = slope_x * x + 1 + slope_y * y
    if camera.vignette[1] > 0.0:
        fall = fall - np.float32(rng.uniform(*camera.vignette) / 2) * (x * x + y * y)
    lit = rgb * gain.astype(np.float32)
    lit *= fall
    lit += rng.standard_normal((height, width), np.float32) * np.float32(rng.uniform(*camera.noise))
    np.clip(lit, 0, 255, out=lit)
    photo = Image.fromarray(np.ascontiguousarray(np.moveaxis(lit.astype(np.uint8), 0, -1)))
    if rng.random() < camera.blur_share:
        photo = photo.filter(ImageFilter.BoxBlur(float(rng.uniform(*camera.blur_px))))
    if rng.random() < camera.jpeg_share:
        buffer = io.BytesIO()
        low, high = camera.jpeg_quality
        photo.save(buffer, "JPEG", quality=int(rng.integers(low, high + 1)))
        photo = Image.open(buffer)
    return np.array(photo)
