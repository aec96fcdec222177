"""How long do a million rows take: read, checked and split, and how much memory?

    python benchmarks/manifest.py [--rows 1000000]

The manifest is made, with every column filled, two images per patient and a mask each; the image files are not there, since
reading does not open them. Each rate is printed beside that of a tenth of the rows. The process's CPU time is what other work
on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMIT_S, LIMIT_GIB = 20.0, 2.0


def main() -> int:
    """Print the figures; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(*one(asked.one))
        return 0
    print("     rows   read s  split s    wall s   CPU s  us/row  peak GiB  KiB/row")
    for rows in (asked.rows // 10, asked.rows):
        with tempfile.TemporaryDirectory(prefix="wsus-bench-") as folder:
            path = Path(folder) / "manifest.csv"
            write(path, rows)
            command = [sys.executable, __file__, "--one", str(path)]
            result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        read_s, split_s, cpu_s, before_gib, peak_gib = map(float, result.stdout.split())
        wall_s, each = read_s + split_s, (peak_gib - before_gib) * 2**20 / rows
        seconds = f"{read_s:>8.2f} {split_s:>8.2f} {wall_s:>9.2f} {cpu_s:>7.2f}"
        print(f"{rows:>9,} {seconds} {wall_s / rows * 1e6:>7.1f} {peak_gib:>9.2f} {each:>8.2f}")
    kept = wall_s < LIMIT_S and peak_gib < LIMIT_GIB
    print(f"limits of 1,000,000 rows (< {LIMIT_S:g} s, < {LIMIT_GIB:g} GiB): {'kept' if kept else 'MISSED'}")
    return 0 if kept else 1


def write(path: Path, rows: int) -> None:
    """A manifest of so many images, two of each patient, a third of the patients malignant."""
    from wsus.data.manifest import COLUMNS

    rng = np.random.default_rng(0)
    ages, sizes, birads = rng.integers(20, 90, rows), rng.uniform(3, 50, rows), rng.choice(["2", "3", "4A", "5"], rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for i in range(rows):
            malignant = i // 2 % 3 == 0
            writer.writerow(
                {
                    "image_id": f"image{i:07}",
                    "patient_id": f"patient{i // 2:07}",
                    "path": f"images/{i // 1000:04}/{i:07}.png",
                    "label": "malignant" if malignant else "benign",
                    "mask_path": f"masks/{i // 1000:04}/{i:07}.png",
                    "institution": "A",
                    "device": "GE Logiq E9",
                    "birads": birads[i],
                    "histology": "ductal carcinoma" if malignant else "fibroadenoma",
                    "age_years": ages[i],
                    "lesion_size_mm": f"{sizes[i]:.1f}",
                    "acquired": f"2020-{i % 12 + 1:02}-{i % 28 + 1:02}",
                    "calipers": "no",
                }
            )


def one(path: Path) -> tuple[float, float, float, float, float]:
    """Seconds of reading, splitting and CPU; GiB before and at the peak."""
    from wsus.data.manifest import read_manifest
    from wsus.data.splits import SplitConfig, make_splits

    before = peak_gib()
    start, cpu = time.perf_counter(), time.process_time()
    manifest = read_manifest(path)
    read = time.perf_counter()
    splits = SplitConfig(train_per_class=None, internal_per_class=1000, internal_from="latest")
    make_splits(manifest, None, splits)
    end = time.perf_counter()
    return read - start, end - read, time.process_time() - cpu, before, peak_gib()


def peak_gib() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    raise SystemExit(main())
