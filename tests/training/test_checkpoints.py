"""Checkpoints: stops by hand, full disks, damaged files, runs that grow, weights on the way."""

import json
import os
import re
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minivos.errors import InputError
from minivos.training.checkpoints import COLUMNS, Checkpoints, StopAfterStep
from minivos.training.export import every_so_often, export_run, origin, settings_of
from minivos.training.loop import train
from minivos.training.recipe import RECIPES, Recipe
from tiny import squares, tiny_aot

RECIPE = Recipe(steps=4, batch=1, frames=2, side=32, objects=2, pool=2)
NEVER = 1e9  # seconds


def network(seed: int = 0):
    return tiny_aot(seed, layers=1, drop_path=0.2)


def losses(history) -> list[float]:
    return [row["loss"] for row in history]


def steps_in(out: Path) -> int:
    return len(torch.load(out / "checkpoint.pt")["history"])


def saved_once(out: Path, **changes) -> dict:
    """What a checkpoint of one step holds, after it was written."""
    train(network(), replace(RECIPE, **({"steps": 1} | changes)), out, "cpu", squares)
    return torch.load(out / "checkpoint.pt")


@pytest.fixture(scope="module")
def whole():
    trained = network()
    return trained, train(trained, RECIPE, make_clip=squares, device="cpu")


# ------------------------------------------------------------------------------------------------------------- stops
@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_lets_the_step_end_saves_it_and_the_run_goes_on_exactly(number, ends, whole, tmp_path, caplog):
    def stopped(clip: int):
        if clip == 2:  # which step 1 asks for
            os.kill(os.getpid(), number)
        return squares(clip)

    before = signal.getsignal(number)
    with pytest.raises(ends) as stop:
        train(network(), RECIPE, tmp_path, "cpu", stopped, save_every=NEVER)
    assert ends is KeyboardInterrupt or stop.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(number) is before and "stopping after this step" in caplog.text
    assert steps_in(tmp_path) == 2
    resumed = network(seed=9)
    assert losses(train(resumed, RECIPE, tmp_path, "cpu", squares)) == losses(whole[1])
    pairs = zip(resumed.parameters(), whole[0].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_second_signal_ends_at_once_and_none_is_taken_from_other_threads():
    with StopAfterStep(torch.device("cpu")) as stop:
        stop.obey()  # nobody asked
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    done = []
    other = threading.Thread(target=lambda: done.append(train(network(), RECIPE, None, "cpu", squares)))
    other.start()
    other.join()
    assert len(done[0]) == 4


def test_a_signal_before_the_first_step_leaves_nothing(tmp_path):
    class Stopped(StopAfterStep):
        def asked(self) -> bool:
            self.number = signal.SIGINT
            return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minivos.training.loop.StopAfterStep", Stopped)
        with pytest.raises(KeyboardInterrupt):
            train(network(), RECIPE, tmp_path / "out", "cpu", squares)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_is_written_when_its_time_has_come(whole, tmp_path):
    _, history = whole
    checkpoints = Checkpoints(tmp_path, RECIPE, {}, seconds=60)
    checkpoints.save_in_time(history)
    assert not any(tmp_path.iterdir())
    checkpoints.saved_at -= 60
    checkpoints.save_in_time(history)
    assert steps_in(tmp_path) == 4
    (tmp_path / "checkpoint.pt").unlink()
    checkpoints.save_in_time(history)  # a minute from the last
    assert not (tmp_path / "checkpoint.pt").exists()


# --------------------------------------------------------------------------------------------------- what cannot be
def damaged(saved: dict, **changes) -> dict:
    kept = {name: part for name, part in (saved | changes).items() if part is not None}
    return kept


def test_a_damaged_checkpoint_is_named_and_kept(tmp_path):
    saved, file = saved_once(tmp_path), tmp_path / "checkpoint.pt"
    row = saved["history"][0]
    cases = {
        "holds a list without network, averaged, optimiser, recipe, history": [1, 2],
        "holds a Tensor without": torch.zeros(3),
        "holds a dict without averaged, history;": damaged(saved, averaged=None, history=None),
        "has a damaged recipe or log": damaged(saved, history=[{"loss": 1.0}]),
        "damaged recipe or log": damaged(saved, history=[row | {"seconds": "long"}]),
        "a damaged recipe": damaged(saved, recipe=[1]),
        "is of another network": damaged(saved, network={"weight": torch.zeros(1)}),
        "of another network (": damaged(saved, optimiser=[1]),
    }
    for message, content in cases.items():
        torch.save(content, file)
        before = file.read_bytes()
        with pytest.raises(InputError, match=re.escape(message)):
            train(network(), replace(RECIPE, steps=1), tmp_path, "cpu", squares)
        assert file.read_bytes() == before
    file.write_bytes(before[:100])
    with pytest.raises(InputError, match="is damaged .* remove it to start anew"):
        train(network(), replace(RECIPE, steps=1), tmp_path, "cpu", squares)


def test_a_full_disk_is_named_and_the_checkpoint_before_stays_whole(whole, tmp_path):
    resource = pytest.importorskip("resource")
    out, (soft, hard) = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)

    def fills_up(clip: int):
        if clip == 3:  # which step 2 asks for
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # so many bytes in any file
        return squares(clip)

    try:
        with pytest.raises(InputError, match=r"cannot write .*checkpoint.pt"):
            train(network(), RECIPE, out, "cpu", fills_up, save_every=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint.pt", "log.csv"] and steps_in(out) == 2
    assert losses(train(network(9), RECIPE, out, "cpu", squares)) == losses(whole[1])


# ----------------------------------------------------------------------------------------------------- runs that grow
def test_steps_and_minutes_may_grow_and_never_shrink(tmp_path, caplog):
    saved_once(tmp_path / "steps")
    more = replace(RECIPE, steps=3)
    assert len(train(network(), more, tmp_path / "steps", "cpu", squares)) == 3
    assert "the training grows" in caplog.text and "steps=1 (now 3)" in caplog.text
    with pytest.raises(InputError, match=r"steps=3 \(now 2\)"):
        train(network(), replace(RECIPE, steps=2), tmp_path / "steps", "cpu", squares)

    short, longer = (replace(RECIPE, minutes=minutes) for minutes in (0.001, 0.02))
    before = train(network(), short, tmp_path / "minutes", "cpu", squares)
    after = train(network(), longer, tmp_path / "minutes", "cpu", squares)
    assert losses(after)[: len(before)] == losses(before) and len(after) > len(before)
    with pytest.raises(InputError, match=r"minutes=0.02 \(now 0.0\)"):  # from the clock to steps is another run
        train(network(), RECIPE, tmp_path / "minutes", "cpu", squares)


def test_a_checkpoint_from_before_a_setting_existed_has_its_default(tmp_path):
    saved = saved_once(tmp_path)
    del saved["recipe"]["jaccard"]
    torch.save(saved, tmp_path / "checkpoint.pt")
    train(network(), replace(RECIPE, steps=1), tmp_path, "cpu", squares)
    saved["recipe"]["colour"] = 3
    torch.save(saved, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=r"colour=3 \(now None\)"):
        train(network(), replace(RECIPE, steps=1), tmp_path, "cpu", squares)


# --------------------------------------------------------------------------------------------------------- on the way
def test_averaged_weights_are_exported_with_every_checkpoint(tmp_path):
    exported, trained = [], network()

    def export(averaged, history):
        assert steps_in(tmp_path) == len(history)
        exported.append([weight.clone() for weight in averaged.parameters()])

    train(trained, RECIPE, tmp_path, "cpu", squares, save_every=0, export=export)
    assert len(exported) == 5  # after every step, and at the end
    last = zip(exported[-1], trained.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in last)
    current = torch.load(tmp_path / "checkpoint.pt")["network"].values()
    assert not all(torch.equal(a, b) for a, b in zip(current, trained.state_dict().values(), strict=True))


def test_a_run_is_exported_with_its_facts(whole, tmp_path):
    trained, history = whole
    recipe = settings_of(RECIPES["sitvos_video"])
    export_run(tmp_path / "mine.v2", trained, {"model": "tiny", "recipe": recipe}, history)
    facts = json.loads((tmp_path / "mine.v2.json").read_text(), parse_constant=pytest.fail)
    assert (
        facts["model"] == "tiny"
        and facts["recipe"]["clip_norm"] == "inf"
        and facts["steps"] == 4
        and "scores" not in facts
    )
    assert [row["step"] for row in facts["log"]] == [0, 1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.v2.json", "mine.v2.safetensors"]


def test_the_log_is_kept_in_few_rows():
    history = [dict.fromkeys(COLUMNS, float(step)) | {"step": step} for step in range(120)]
    rows = every_so_often(history)
    assert len(rows) == 40 and rows[0] == {"step": 2, "loss": 1.0, "J": 1.0} and rows[-1]["step"] == 119


@pytest.mark.parametrize("content", ["{", "[1, 2]", "null", "[" * 100_000, "\udcff"])
def test_a_json_beside_weights_that_is_none_is_named(content, tmp_path):
    (tmp_path / "weights.json").write_bytes(content.encode("utf8", "surrogateescape"))
    with pytest.raises(InputError, match=r"weights\.json .*expected"):
        origin("aot_mini", str(tmp_path / "weights.safetensors"))
