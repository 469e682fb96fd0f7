import numpy as np
import obstore
import pytest
from obstore.store import MemoryStore

from possam_core.images.decode import ImageError, decode_image
from tests.zoo import ODD_KEYS, ZooImage, make_zoo

ZOO = make_zoo()
COLOUR_LEVELS = 30  # what noise and JPEG may change


def test_the_zoo_is_large_light_and_always_the_same() -> None:
    assert len({animal.name for animal in ZOO}) == len(ZOO) >= 200
    assert sum(len(animal.data) for animal in ZOO) < 20 * 2**20
    assert [(a.name, a.data) for a in make_zoo()] == [(a.name, a.data) for a in ZOO]


@pytest.mark.parametrize("animal", ZOO, ids=lambda animal: animal.name)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Tag data larger than file")
def test_every_image_of_the_zoo_has_its_expected_outcome(animal: ZooImage) -> None:
    if animal.error_code is not None:
        with pytest.raises(ImageError) as caught:
            decode_image(animal.data)
        assert caught.value.code.value == animal.error_code
        return
    decoded = decode_image(animal.data)
    assert decoded.pixels.shape == (*animal.image_hw, 3)
    for place, rgb in animal.colour.items():
        levels = np.abs(decoded.pixels[place].astype(int) - rgb)
        assert levels.max() <= COLOUR_LEVELS, f"{place} is {decoded.pixels[place]}, not {rgb}"


@pytest.mark.parametrize(("key", "is_addressable"), ODD_KEYS)
def test_odd_keys_reach_their_object_or_are_refused(key: str, is_addressable: bool) -> None:
    store = MemoryStore()
    if is_addressable:
        obstore.put(store, key, b"data")
        assert bytes(obstore.get(store, key).bytes()) == b"data"
        assert [found["path"] for found in obstore.list(store).collect()] == [key]
    else:
        with pytest.raises(ValueError, match="path"):
            obstore.get(store, key)


def test_odd_keys_are_many_and_fit_s3() -> None:
    keys = [key for key, _ in ODD_KEYS]
    assert len(set(keys)) == len(keys) >= 40
    assert max(len(key.encode()) for key in keys) == 1024
    assert all(key.startswith("odd/") and key.endswith(".jpg") for key in keys)
