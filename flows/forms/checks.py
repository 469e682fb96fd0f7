"""Checks of places and addresses that several forms share; each returns every mistake it finds."""

from functools import partial
from urllib.parse import urlsplit

from flows.forms.form import mistakes_in
from pipelines.corpus.source import require_corpus
from pipelines.settings.label import LabelConfig
from pipelines.storage.addresses import normalise_location


def location_problems(images: str, output: str) -> list[str]:
    """What is wrong with the place of the corpus, and with that of the run."""
    found = [
        f"{name}: {mistake}"
        for name, value in (("images", images), ("output", output))
        for mistake in mistakes_in(partial(normalise_location, value))
    ]
    if found:
        return found
    return mistakes_in(
        lambda: require_corpus(normalise_location(images)),
        lambda: LabelConfig(images=images, output=output),
    )


def ray_address_problems(address: str) -> list[str]:
    """What is wrong with the address of a Jobs API."""
    if not address:
        return []
    try:
        parts = urlsplit(address)
        is_sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        return ["ray_address must be http(s)://host:port, got a port that is no number"]
    if parts.username or parts.password or parts.query:
        return [
            "ray_address must hold no login or token, for everybody can read it here; set"
            " RAY_AUTH_TOKEN where the flow runs"
        ]
    if not is_sound or parts.path.strip("/"):
        return [f"ray_address must be http(s)://host:port of Ray's dashboard, got {address!r}"]
    return []
