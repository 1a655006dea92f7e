"""Scores that were computed once, with their times; and the script that computes them.

    python examples/protein/recorded.py            scores what the file lacks: many minutes
    python examples/protein/recorded.py --quick    eight sequences, and writes no file
    python examples/protein/recorded.py --models   times of the model's tasks alone

``scores.csv`` has the score of each sequence of the design space, and the processor time that it
took, one line each, written as it came. ``models.csv`` has the processor time of the model's tasks:
of training by the number of scores, of proposing by the number of sequences.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from peptide import LETTERS, check_installed, helix_preference, space

FILE, MODELS = (Path(__file__).with_name(name) for name in ("scores.csv", "models.csv"))
COLUMNS = ("sequence", "kj_per_mol", "seconds")
SIZES = (8, 64, 256, 1024)


class Recording:
    """The recorded scores and times.

    Attributes:
        letters: the first ones of the alphabet, of which all sequences are recorded.
        scores: by sequence.
        seconds: processor time, by sequence.
        begin_s: processor time of the first training.
    """

    def __init__(self) -> None:
        rows = read_scores()
        sizes = range(len(LETTERS), 1, -1)
        self.letters = next(
            (LETTERS[:n] for n in sizes if all(each in rows for each in space(LETTERS[:n]))), ""
        )
        if not self.letters:
            raise SystemExit(f"{FILE} lacks sequences: run recorded.py")
        self.scores = {each: rows[each][0] for each in space(self.letters)}
        self.seconds = {each: rows[each][1] for each in space(self.letters)}
        self._times: dict[str, list[tuple[int, float]]] = {}
        with MODELS.open(newline="") as file:
            for row in csv.DictReader(file):
                times = self._times.setdefault(row["task"], [])
                times.append((int(row["size"]), float(row["seconds"])))
        self.begin_s = self._times["begin"][0][1]

    def finetune_s(self, scores: int) -> float:
        """Return how long a training takes, by the number of scores."""
        return self._interpolated("finetune", scores)

    def propose_s(self, n: int) -> float:
        """Return how long it takes to propose, by the number of sequences."""
        return self._interpolated("propose", n)

    def top(self, share: float) -> set[str]:
        """Return the best sequences."""
        best = sorted(self.scores, key=self.scores.__getitem__, reverse=True)
        return set(best[: round(share * len(best))])

    def _interpolated(self, task: str, size: int) -> float:
        sizes, seconds = zip(*self._times[task], strict=True)
        return float(np.interp(size, sizes, seconds))


def read_scores() -> dict[str, tuple[float, float]]:
    """Return score and seconds of each recorded sequence."""
    if not FILE.exists():
        return {}
    with FILE.open(newline="") as file:
        return {
            row["sequence"]: (float(row["kj_per_mol"]), float(row["seconds"]))
            for row in csv.DictReader(file)
        }


def timed(sequence: str) -> tuple[str, float, float]:
    """Score a sequence, and say how much processor time that took."""
    began_s = time.process_time()
    score = helix_preference.function(sequence)
    return sequence, score, time.process_time() - began_s


def median_s(call: Callable[[], Any]) -> float:
    """Return the processor time of a call: the median of three."""
    times: list[float] = []
    for _ in range(3):
        began_s = time.process_time()
        call()
        times.append(time.process_time() - began_s)
    return sorted(times)[1]


def time_models() -> None:
    """Time the tasks of the model, and write the file."""
    from peptide import TEMPLATE
    from proposals import chosen
    from search import SHOWN, begin, finetune, propose

    shown = chosen(SHOWN, 1, TEMPLATE, LETTERS)
    model = begin.function("language", shown, 1)
    rows: list[tuple[str, int, float]] = []
    took_s = median_s(lambda: begin.function("language", shown, 1))
    rows.append(("begin", SHOWN, took_s))
    for size in SIZES:
        scores = {each: float(n % 7) for n, each in enumerate(chosen(size, 1, "*" * 8, LETTERS))}
        took_s = median_s(lambda scores=scores: finetune.function("language", model, scores, 1))
        rows.append(("finetune", size, took_s))
    for size in SIZES:
        asked = ("language", model, size, 1, "*" * 8, LETTERS, [])
        rows.append(("propose", size, median_s(lambda asked=asked: propose.function(*asked))))
    with MODELS.open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("task", "size", "seconds"))
        lines.writerows((task, size, f"{took_s:.4f}") for task, size, took_s in rows)


def main() -> None:
    """Score all that is not recorded yet."""
    parser = argparse.ArgumentParser(description="Score the whole design space.")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="eight sequences, and no file")
    parser.add_argument("--models", action="store_true", help="the times of the model alone")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if asked.models:
        return time_models()
    check_installed()
    known = {} if asked.quick else read_scores()
    left = [each for each in space() if each not in known][: 8 if asked.quick else None]
    with ProcessPoolExecutor(asked.processes) as processes:
        ending = as_completed([processes.submit(timed, each) for each in left])
        if asked.quick:
            for each in ending:
                print(*each.result())
            return None
        with FILE.open("a", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            if not known:
                rows.writerow(COLUMNS)
            for each in ending:
                sequence, score, took_s = each.result()
                rows.writerow((sequence, f"{score:.3f}", f"{took_s:.3f}"))
                file.flush()
    return None


if __name__ == "__main__":
    main()
