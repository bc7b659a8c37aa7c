"""What a GPU does: frames per second and memory of the published networks, training steps a minute, the GPU tests.

    python benchmarks/gpu.py                       # under 12 minutes; tables, and out/gpu/gpu.csv
    python benchmarks/gpu.py --networks aot_t hst_b --parts track
    python benchmarks/gpu.py --device cpu --quick  # everything, small, of one network compiled: does it work?

In this order: "track" times each network at 480x854 with 1, 3 and 10 objects, in float32 and with bfloat16 autocast;
"train" times steps of the small networks by their recipe for a laptop; "test" runs tests/test_gpu.py; "compiled" times
the networks again with bfloat16 and torch.compile, which takes long to begin. What no longer fits into --minutes is a
row "skipped: why"; what goes wrong is a row "failed: why", and the rest goes on in a new process. A frame is timed as
Tracker meets it: a picture in main memory to labels in main memory and back into memory, the median over frames. Peak
memory is that of the GPU, of tensors; on a CPU it is that of the process. Weights are random: they do not change the
time. The memory of a network grows by its own schedule over the frames that are timed: ROUNDS tells how many.
"""

import argparse
import csv
import gc
import logging
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("track", "train", "test", "compiled")
FORMS = {  # settings of Tracker
    "float32": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "compiled": {"precision": "bfloat16", "compiled": True},
}
COMPILED_FIRST = ("aot_t", "aot_l", "r50_aot_l", "sitvos", "hst_b", "sst")  # in case not all fit
LIMITS = {"track": 90, "train": 90, "test": 240, "compiled": 120}  # seconds that one job may take


@dataclass
class Rounds:
    """How much is timed."""

    size: tuple[int, int] = (480, 854)  # of the frames
    objects: tuple[int, ...] = (1, 3, 10)
    warm_up: int = 4  # frames before those that count
    frames: int = 12
    steps: int = 30  # of a training; the first third does not count
    training: tuple[str, ...] = ()  # settings of its recipe


ROUNDS = Rounds()
QUICK = Rounds(
    (64, 96), (1, 3), 1, 2, 3, ("side=64", "batch=2", "frames=2", "pool=2", "clip_side=1")
)  # fmt: skip


@dataclass
class Row:
    """One line of the table; what does not apply is empty."""

    part: str
    network: str
    form: str
    objects: int | str = ""
    frames_per_second: float | str = ""
    steps_per_minute: float | str = ""
    peak_mib: float | str = ""
    note: str = ""


# In a process of its own --------------------------------------------------------------------------


def work(connection: Any, device: str) -> None:
    """Do the jobs that come, send their rows one by one, and None after the last row of each."""
    logging.basicConfig(level=logging.ERROR)
    while True:
        part, network, form, rounds = connection.recv()
        try:
            for row in MEASURES[part](device, network, form, rounds):
                connection.send(row)
        except Exception as error:
            connection.send(Row(part, network, form, note=f"failed: {first_line(error)}"))
        check_device(device)
        connection.send(None)


def check_device(device: str) -> None:
    """End this process if a CUDA error has spoilt it; give back what memory it holds."""
    import torch

    gc.collect()
    try:
        torch.ones(1, device=device).sum().item()
        forget_peak(device)
    except RuntimeError:
        os._exit(1)


def first_line(error: Exception) -> str:
    """What went wrong, short."""
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:150]


def track(device: str, name: str, form: str, rounds: Rounds) -> Iterator[Row]:
    """Frames per second and peak memory of one network, for each number of objects."""
    import torch

    from minivos import Tracker, create_model
    from minivos.evaluation.cost import peak_memory, wait_for
    from minivos.synthetic.clips import render

    torch.manual_seed(0)
    network = create_model(name).to(device)
    part = "compiled" if form == "compiled" else "track"
    count = 1 + rounds.warm_up + rounds.frames
    clip = render(0, frames=count, size=rounds.size, objects=max(rounds.objects))
    for objects in rounds.objects:
        forget_peak(device)
        tracker, seconds = Tracker(network, side=min(rounds.size), **FORMS[form]), []
        first = clip.masks[0] * (clip.masks[0] <= objects)
        for t, frame in enumerate(clip.frames):
            began = time.perf_counter()
            tracker.step(frame, first if t == 0 else None)
            wait_for(tracker.device)
            seconds.append(time.perf_counter() - began)
        speed = 1 / median(seconds[1 + rounds.warm_up :])
        yield Row(part, name, form, objects, frames_per_second=speed, peak_mib=peak_memory(tracker.device))


def train(device: str, name: str, form: str, rounds: Rounds) -> Iterator[Row]:
    """Training steps a minute of one small network, and peak memory."""
    import torch

    from minivos import create_model
    from minivos.evaluation.cost import peak_memory
    from minivos.training.loop import train as run
    from minivos.training.recipe import find_recipe

    torch.manual_seed(0)
    forget_peak(device)
    network = create_model(name)
    recipe = find_recipe("small", rounds.training, steps=rounds.steps)
    recipe = replace(recipe, side=network.sizing((recipe.side, recipe.side), recipe.side)[0])
    log = run(network, recipe, device=device, precision=form)[rounds.steps // 3 :]
    share = sum(row["data_seconds"] for row in log) / sum(row["seconds"] for row in log)
    speed = 60 / median(row["seconds"] for row in log)
    note = f"{recipe.side} pixels, batch {recipe.batch}, {recipe.frames} frames; data {share:.0%}"
    yield Row("train", name, form, steps_per_minute=speed, peak_mib=peak_memory(torch.device(device)), note=note)


MEASURES: dict[str, Callable[..., Iterator[Row]]] = {"track": track, "compiled": track, "train": train}


def forget_peak(device: str) -> None:
    """Measure the peak of memory from now on."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


# In this process ----------------------------------------------------------------------------------


class Worker:
    """A process that measures; when it ends or takes too long, a new one takes its place."""

    def __init__(self, device: str) -> None:
        self.device, self.process = device, None

    def rows(self, job: tuple, limit: float) -> Iterator[Row]:
        """The rows of one job; a last one says if it failed."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=work, args=(theirs, self.device), daemon=True)
            self.process.start()
            theirs.close()
        ends, failed = time.monotonic() + limit, False
        try:
            self.connection.send(job)
            while self.connection.poll(max(0, ends - time.monotonic())):
                if (row := self.connection.recv()) is None:
                    return
                failed = failed or row.note.startswith("failed")
                yield row
            yield Row(*job[:3], note=f"failed: took longer than {limit:.0f} s")
        except (EOFError, OSError):
            self.process.join(5)
            if not failed:
                yield Row(*job[:3], note=f"failed: its process ended with {self.process.exitcode}")
        self.stop()

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def run_tests(limit: float) -> Row:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_gpu.py"]
    try:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return Row("test", "tests/test_gpu.py", "", note=f"failed: took longer than {limit:.0f} s")
    lines = run.stdout.strip().splitlines() or [run.stderr.strip()[-150:]]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    said = "; ".join([*failed, lines[-1]])
    return Row("test", "tests/test_gpu.py", "", note=said if run.returncode == 0 else f"failed: {said}")


def jobs(
    parts: list[str], networks: list[str], trained: list[str], compiled: list[str]
) -> Iterator[tuple[str, str, str]]:
    """Part, network and form of everything that is measured, in order."""
    if "track" in parts:
        yield from (("track", name, form) for name in networks for form in ("float32", "bfloat16"))
    if "train" in parts:
        yield from (("train", name, form) for name in trained for form in ("float32", "bfloat16"))
    if "test" in parts:
        yield "test", "", ""
    if "compiled" in parts:
        first = [name for name in COMPILED_FIRST if name in compiled]
        yield from (("compiled", name, "compiled") for name in dict.fromkeys([*first, *compiled]))


def show(rows: list[Row], objects: tuple[int, ...]) -> None:
    """Print the tables."""
    tracked = [row for row in rows if row.part in ("track", "compiled")]
    for title, value, digits in (("frames per second", "frames_per_second", 1), ("peak MiB", "peak_mib", 0)):
        if not tracked:
            continue
        columns = [(form, count) for form in FORMS for count in objects]
        print(f"\n{title:18}" + "".join(f"{form:>{9 * len(objects)}}" for form in FORMS))
        print(f"{'objects':18}" + "".join(f"{count:9}" for _, count in columns))
        for name in dict.fromkeys(row.network for row in tracked):
            found = {(row.form, row.objects): getattr(row, value) for row in tracked if row.network == name}
            cells = [found.get(column, "") for column in columns]
            print(f"{name:18}" + "".join(f"{x:9.{digits}f}" if x != "" else f"{'-':>9}" for x in cells))
    if trained := [row for row in rows if row.part == "train" and row.steps_per_minute]:
        print(f"\n{'training':18}{'precision':>10} {'steps a minute':>15} {'peak MiB':>9}")
        for row in trained:
            print(f"{row.network:18}{row.form:>10} {row.steps_per_minute:15.0f} {row.peak_mib:9.0f}  {row.note}")
    for row in rows:
        if row.part == "test" or row.note.startswith(("failed", "skipped")):
            print(f"{row.part} {row.network} {row.form}: {row.note}")


def describe(device: str) -> str:
    """The machine, in a line."""
    import torch

    what = f"{os.cpu_count()} CPU cores"
    if device.startswith("cuda"):
        card = torch.cuda.get_device_properties(device)
        what = f"{card.name}, {card.total_memory / 2**30:.0f} GiB, {what}"
    return f"{device}: {what}, torch {torch.__version__}"


def main() -> None:
    """Measure, print the tables, and write them as CSV row by row."""
    from minivos.models import has_weights, list_models, pick_device

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=11, help="time budget for everything")
    parser.add_argument("--networks", nargs="+", help="to track with; all published ones")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true", help="the small networks on small frames")
    parser.add_argument("--out", type=Path, default=Path("out/gpu"), help="folder for gpu.csv")
    settings = parser.parse_args()
    began, device = time.monotonic(), str(pick_device(settings.device))
    rounds = QUICK if settings.quick else ROUNDS
    small = [name for name in list_models() if has_weights(name)]
    names = settings.networks or (small if settings.quick else [n for n in list_models() if n not in small])
    trained, compiled = (names, names[:1]) if settings.quick else (small, names)
    settings.out.mkdir(parents=True, exist_ok=True)
    print(describe(device), flush=True)

    rows, worker = [], Worker(device)
    with (settings.out / "gpu.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Row)])
        table.writeheader()
        for part, name, form in jobs(settings.parts, names, trained, compiled):
            left = 60 * settings.minutes - (time.monotonic() - began)
            limit = min(LIMITS[part], left)
            if left < LIMITS[part] / 10:
                new = [Row(part, name, form, note=f"skipped: {max(0, left):.0f} s left")]
            elif part == "test":
                worker.stop()  # its memory is for the tests
                new = [run_tests(limit)]
            else:
                new = worker.rows((part, name, form, rounds), limit)
            for row in new:
                rows.append(row)
                table.writerow({key: f"{x:.4g}" if isinstance(x, float) else x for key, x in asdict(row).items()})
                file.flush()
                seconds = time.monotonic() - began
                print(f"{seconds:5.0f} s  {part:8} {name:12} {form:9} {row.objects!s:3} {row.note}", flush=True)
    worker.stop()
    show(rows, rounds.objects)
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes; {settings.out / 'gpu.csv'}: every row")


if __name__ == "__main__":
    main()
