"""The real `possam` command, except that its workers hold the stand-in for a model.

usage: python -m tests.chaos.drive ORDERS ARGUMENT...    ORDERS is JSON of stand_in.Orders
"""

import json
import sys
from functools import partial

from pipelines import cli
from pipelines.label import session
from tests.chaos.stand_in import Orders, loader


def main() -> None:
    """Run `possam ARGUMENT...`."""
    orders = Orders(**json.loads(sys.argv.pop(1)))
    # The command imports the name when it needs it, so it gets this one.
    session.run_label = partial(session.run_label, load_model=loader(orders))
    sys.argv[0] = "possam"
    cli.main()


if __name__ == "__main__":
    main()
