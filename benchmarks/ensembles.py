"""Quality of each way of ensembling on a trained network that was trained on the playground.

All ways classify the same masks by the network's own LDP. Thresholds, eta, tau and weights of each
are chosen on scenes of the playground; both worlds are measured on others. Prints a table and
writes `build/bench/ensembles.json`.

usage: python -m benchmarks.ensembles [--model possam-tiny]
"""

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.ablation.measure import bootstrap, choose, count, pq, run_on_scenes
from benchmarks.ablation.table import interval
from benchmarks.report import write_json
from possam_core.checkpoints.weights import load_model
from possam_core.model import PosSAM
from possam_core.playground import PLAYGROUND, WORKSHOP

OUTPUT = Path("build/bench/ensembles.json")
TUNING_SEED, NUM_TUNING = 201, 100
REPORT_SEED, NUM_REPORTED = 301, 300
GAIN = "MASE 1 over it"  # PQ of all: the mean, and the ends of a 95 % interval over scenes
WAYS = {
    "LDP alone": "ldp",
    "CLIP alone": "clip",
    "fixed ensemble": "fixed",
    "seen by name": "names",
    "MASE 1": "mase-1",
    "MASE 2": "mase-2",
    "MASE 3": "mase-3",
}


def figures(model: PosSAM, console: Console) -> list[dict[str, object]]:
    """By world and way: PQ, the gain of MASE 1 over it, and the chosen settings."""
    tuning = run_on_scenes(model, PLAYGROUND, seed=TUNING_SEED, num_scenes=NUM_TUNING)
    settings = {
        way: choose(tuning, model.ldp, kind, None)
        for way, kind in track(WAYS.items(), "choosing settings", console=console)
    }
    rows: list[dict[str, object]] = []
    for world in (PLAYGROUND, WORKSHOP):
        outputs = run_on_scenes(model, world, seed=REPORT_SEED, num_scenes=NUM_REPORTED)
        counts = {way: count(outputs, model.ldp, chosen) for way, chosen in settings.items()}
        is_seen = outputs.is_seen.numpy()
        for way, counted in counts.items():
            total = counted.sum(axis=0)
            rows.append(
                {
                    "world": world.name,
                    "way": way,
                    "all": float(pq(total)),
                    "seen": float(pq(total[is_seen])),
                    "unseen": float(pq(total[~is_seen])),
                    GAIN: bootstrap(counts["MASE 1"][None], counted[None]).tolist(),
                    "settings": asdict(settings[way]),
                }
            )
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="possam-tiny")
    model = parser.parse_args().model
    rows = figures(load_model(model).eval(), Console(stderr=True))
    table = Table("world", "way", "all", "seen", "unseen", GAIN)
    for row in rows:
        qualities = (f"{row[group]:.1f}" for group in ("all", "seen", "unseen"))
        table.add_row(str(row["world"]), str(row["way"]), *qualities, interval(row[GAIN]))
    Console().print(table)
    about = {"date": datetime.now(UTC).date().isoformat(), "model": model}
    write_json(OUTPUT, about | {"rows": rows})


if __name__ == "__main__":
    main()
