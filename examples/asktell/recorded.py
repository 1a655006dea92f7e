"""Networks that were trained once: their wrong answers after each epoch, and the time of one.

    python examples/asktell/recorded.py           trains whatever `compare.py` asks for: minutes
    python examples/asktell/recorded.py --more    only the networks that the file has not

The optimizers ask for the same networks in each replay, as long as their packages are of about the
same version; a network that is not in the file is trained when it is asked for.  An epoch's time is
that of the processor, so that it does not depend on how busy the machine was.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from training import CHECK, EPOCHS, train

from steerio.testing import Course

FILE = Path(__file__).parent / "recorded.json"
PICTURES = CHECK.stop - CHECK.start


class Network(NamedTuple):
    """A network that was trained to the end: wrong answers of each epoch, seconds of one."""

    wrong: list[int]
    epoch_s: float

    @property
    def course(self) -> Course:
        """The course of its task in a simulation."""
        errors = [count / PICTURES for count in self.wrong]
        items = [((epoch + 1) * self.epoch_s, (epoch, e)) for epoch, e in enumerate(errors)]
        return Course(items[-1][0], items=items, value=errors[-1])


class Recorded:
    """The networks of the file; others are trained for real, and counted in ``missing``."""

    def __init__(self, file: Path | None = FILE) -> None:
        rows = {} if file is None else json.loads(file.read_text())
        self.networks = {key: Network(*row) for key, row in rows.items()}
        self.missing = 0

    def course(self, chance: random.Random, width: float, rate: float, decay: float) -> Course:
        """Return the course of a training: a model of the task."""
        key = f"{width:.6g} {rate:.6g} {decay:.6g}"
        if key not in self.networks:
            self.missing += 1
            self.networks[key] = trained(width, rate, decay)
        return self.networks[key].course

    def any_course(self, chance: random.Random, width: float, rate: float, decay: float) -> Course:
        """Return the course of the recorded network that is nearest: for runs of any size."""

        def distance(key: str) -> float:
            there = [float(part) for part in key.split()]
            return sum(
                ((a - b) / scale) ** 2
                for a, b, scale in zip(there, (width, rate, decay), (60, 4, 6), strict=True)
            )

        return self.networks[min(self.networks, key=distance)].course

    def write(self, file: Path) -> None:
        """Write all networks."""
        rows = (
            f"{json.dumps(key)}:{json.dumps(network, separators=(',', ':'))}"
            for key, network in self.networks.items()
        )
        file.write_text("{\n" + ",\n".join(rows) + "\n}\n")


def trained(width: float, rate: float, decay: float) -> Network:
    """Train a network."""
    began_s = time.process_time()
    wrong = [round(error * PICTURES) for _, error in train.function(width, rate, decay)]
    return Network(wrong, round((time.process_time() - began_s) / EPOCHS, 5))


def networks_of(seed: int, file: Path | None) -> dict[str, Network]:
    """Train all that the comparison asks for with a seed, but for the networks of a file."""
    from compare import TRIALS, WORKERS, measured

    networks = Recorded(file)
    measured(seed, TRIALS, WORKERS, networks)
    return networks.networks


def main() -> None:
    """Train all that the comparison asks for, on two cores, and write the file."""
    from compare import SEEDS

    parser = argparse.ArgumentParser(description="Train networks once.")
    parser.add_argument("--more", action="store_true", help="keep those that the file has")
    file = FILE if parser.parse_args().more else None
    networks = Recorded(file)
    with ProcessPoolExecutor(2) as pool:
        seeds = range(1, SEEDS + 1)
        for seed, trained in enumerate(pool.map(networks_of, seeds, [file] * SEEDS), 1):
            networks.networks |= trained
            networks.write(FILE)
            print(f"seed {seed}: {len(networks.networks)} networks", flush=True)


if __name__ == "__main__":
    main()
