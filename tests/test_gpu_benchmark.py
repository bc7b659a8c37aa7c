"""benchmarks/gpu.py measures what works, names what fails, and leaves out what no longer fits; here on the CPU."""

import csv
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def rows(out: Path, *words: str) -> tuple[list[dict[str, str]], str]:
    """What the script wrote, and what it printed."""
    command = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--quick", "--out", str(out), *words]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    with (out / "gpu.csv").open(newline="") as file:
        return list(csv.DictReader(file)), run.stdout


def test_a_failure_is_a_row_and_the_rest_goes_on(tmp_path: Path) -> None:
    found, printed = rows(tmp_path, "--networks", "none", "sitvos_mini", "--parts", "track")
    by_network = {name: [row for row in found if row["network"] == name] for name in ("none", "sitvos_mini")}
    assert len(by_network["none"]) == 2  # in float32 and bfloat16
    assert all(row["note"].startswith("failed: InputError: There is no model") for row in by_network["none"])
    forms = [(row["part"], row["form"], row["objects"]) for row in by_network["sitvos_mini"]]
    tracked = [("track", form, count) for form in ("float32", "bfloat16") for count in "13"]
    assert forms == tracked
    for row in by_network["sitvos_mini"]:
        assert float(row["frames_per_second"]) > 0
        assert float(row["peak_mib"]) > 0
    assert "frames per second" in printed


def test_what_no_longer_fits_is_left_out_and_said(tmp_path: Path) -> None:
    found, printed = rows(tmp_path, "--minutes", "0")
    assert {row["part"] for row in found} == {"track", "train", "test", "compiled"}
    assert all(row["note"].startswith("skipped") for row in found)
    assert "compiled aot_mini compiled: skipped: 0 s left" in printed
