"""Checks that several forms share, and their mistakes as one message."""

from collections.abc import Callable, Iterable
from functools import partial
from urllib.parse import urlsplit

from pipelines.corpus.source import require_corpus
from pipelines.settings.label import LabelConfig
from pipelines.storage.addresses import normalise_location
from possam_core.errors import PossamError


def mistakes_in(*checks: Callable[[], object]) -> list[str]:
    """The messages of the checks that raise a `PossamError`."""
    found = []
    for check in checks:
        try:
            check()
        except PossamError as error:
            found.append(str(error))
    return found


def one_message(problems: Iterable[str]) -> str:
    """All mistakes of a form as one message."""
    each = [" ".join(problem.split()) for problem in problems]
    if len(each) == 1:
        return f"the form has a mistake: {each[0]}"
    numbered = (f"({number}) {problem}" for number, problem in enumerate(each, start=1))
    return f"the form has {len(each)} mistakes: {' '.join(numbered)}"


def location_problems(images: str, output: str) -> list[str]:
    """Mistakes in the addresses of the corpus and of the run."""
    found = [
        f"{name}: {mistake}"
        for name, value in (("images", images), ("output", output))
        if value.strip()  # `out_of_bounds` names an empty one
        for mistake in mistakes_in(partial(normalise_location, value))
    ]
    if found or not (images.strip() and output.strip()):
        return found
    return mistakes_in(
        lambda: require_corpus(normalise_location(images)),
        lambda: LabelConfig(images=images, output=output),
    )


def ray_address_problems(address: str) -> list[str]:
    """Mistakes in the address of a Jobs API."""
    if not address:
        return []
    try:
        parts = urlsplit(address)
        is_sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is not a number
        return ["ray_address must be http(s)://host:port, got a port that is not a number"]
    if parts.username or parts.password or parts.query:
        return [
            "ray_address must hold no login or token, because everybody can read it here; set"
            " RAY_AUTH_TOKEN where the flow runs"
        ]
    if not is_sound or parts.path.strip("/"):
        return [f"ray_address must be http(s)://host:port of Ray's dashboard, got {address!r}"]
    return []
