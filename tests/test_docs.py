"""What the documentation claims is what the bundled checkpoint measured."""

from pathlib import Path

import pytest

from possam_core.checkpoints.weights import load_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("document", ["README.md", "docs/results.md"])
def test_the_table_of_possam_tiny_is_the_one_in_its_checkpoint(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for name, quality in load_model("possam-tiny").card.metrics["quality"].items():
        scores = [f"{100 * quality[score]:.1f}" for score in ("pq", "sq", "rq")]
        assert f"| {name} | {' | '.join(scores)} |" in text


def test_every_file_that_a_document_links_to_exists() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in document.read_text(encoding="utf-8").split("](")[1:]:
            target = link.partition(")")[0]
            if not target.startswith("https://"):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"
