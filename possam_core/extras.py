"""Which extra of the distribution brings what a bare `pip install possam` leaves out."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec

from possam_core.errors import PossamError

# By the name that is imported. pyproject.toml lists the distributions; a test compares the two.
EXTRA_OF = {
    "hotcoco": "label",
    "open_clip": "label",
    "packaging": "label",
    "ray": "label",
    "safetensors": "label",
    "segment_anything": "label",
    "timm": "label",
    "torch": "label",
    "torchvision": "label",
    "tensorboard": "train",
    "fastapi": "prefect",
    "prefect": "prefect",
    "botocore": "s3",
    "fsspec": "s3",
    "s3fs": "s3",
    "transformers": "transformers",
}


class MissingExtraError(PossamError, ImportError):
    """Something was asked for whose packages are not installed."""


def missing_extra(what: str, error: ModuleNotFoundError) -> MissingExtraError | None:
    """The sentence for a failed import in `what`; None if no extra would bring the module."""
    extra = EXTRA_OF.get((error.name or "").partition(".")[0])
    if extra is None:
        return None
    return MissingExtraError(f"{what} needs the extra [{extra}]: pip install 'possam[{extra}]'")


def require(module: str, what: str) -> None:
    """Return only if `module` is installed.

    Raises:
        MissingExtraError: it is not; the sentence says which extra `what` needs.
    """
    if find_spec(module) is None:
        raise missing_extra(what, ModuleNotFoundError(name=module)) or ImportError(module)


def public_names(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """A `__getattr__` for a package: each public name is imported from its home when asked for.

    Args:
        package: its name.
        homes: by public name, the module that defines it.
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(import_module(homes[name]), name)
        except ModuleNotFoundError as error:
            if missing := missing_extra(f"{package}.{name}", error):
                raise missing from None
            raise

    return get
