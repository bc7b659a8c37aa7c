"""The training loop: schedules, resuming after a stop and after a kill, checkpoints, several processes."""

import csv
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import minivos
from minivos.errors import InputError
from minivos.nn.memory import Schedule
from minivos.nn.network import Sizing, VOSNetwork
from minivos.synthetic.clips import render
from minivos.training.checks import fit_side
from minivos.training.loop import Unroll, mean_j, moving_average, train, weight_groups
from minivos.training.losses import segmentation_loss
from minivos.training.recipe import (
    RECIPES,
    Recipe,
    find_recipe,
    group_rate,
    hardest_share,
    learning_rate,
    longest_gap,
    pick_budget,
)
from minivos.training.samples import clips_for, synthetic_clips
from minivos.video.datasets import samples_root
from minivos.video.mask_tensors import one_hot, resize
from tiny import EveryFrameCounts, squares, tiny_aot

HERE = Path(__file__).parent  # tests/training
ROOT = HERE.parents[1]
RECIPE = Recipe(steps=6, batch=2, frames=3, side=32, objects=2, pool=2)
MEASURED = ("step", "loss", "J", "learning_rate")


def network(**changes) -> VOSNetwork:
    return tiny_aot(layers=1, drop_path=0.2, **changes)  # dropped branches and identities are a matter of chance too


def numbers(history: list[dict[str, float]]) -> list[tuple[float, ...]]:
    return [tuple(row[name] for name in MEASURED) for row in history]


def same_weights(first: VOSNetwork, second: VOSNetwork) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums over one thread, as in the processes that the tests start, so that numbers are equal to the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def uninterrupted(one_thread) -> tuple[VOSNetwork, list[dict[str, float]]]:
    trained = network()
    return trained, train(trained, RECIPE, make_clip=squares)


def test_training_moves_the_weights_and_logs_every_step(uninterrupted):
    trained, history = uninterrupted
    assert [row["step"] for row in history] == list(range(6)) and not trained.training
    assert all(row["loss"] > 0 and 0 <= row["J"] <= 1 and row["seconds"] >= row["data_seconds"] for row in history)
    assert [row["learning_rate"] for row in history] == [learning_rate(RECIPE, step / 6) for step in range(6)]
    assert not same_weights(trained, network())


def test_a_run_that_stopped_goes_on_exactly(uninterrupted, tmp_path, caplog):
    def fails_late(number: int):
        if number == 5:  # which step 4 asks for
            raise KeyboardInterrupt
        return squares(number)

    caplog.set_level(logging.INFO)
    with pytest.raises(KeyboardInterrupt):
        train(network(), RECIPE, tmp_path, make_clip=fails_late, save_every=0)
    assert "step 1, 0 %: loss " in caplog.text
    caplog.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "log.csv"]
    resumed = network(seed=9)  # its own weights are replaced by the checkpoint's
    history = train(resumed, RECIPE, tmp_path, make_clip=squares)
    assert "going on from step 4" in caplog.text and "nothing is left to do" not in caplog.text
    assert numbers(history) == numbers(uninterrupted[1])
    assert same_weights(resumed, uninterrupted[0])
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [(int(row["step"]), float(row["loss"])) for row in rows] == [(r["step"], r["loss"]) for r in history]

    finished = network(seed=9)
    assert numbers(train(finished, RECIPE, tmp_path, make_clip=fails_late)) == numbers(history)
    assert "is whole (6 steps): nothing is left to do" in caplog.text
    assert same_weights(finished, resumed)


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from test_train import RECIPE, network, squares, train

save, calls = torch.save, []

def killed_while_writing(saved, file):
    calls.append(file)
    save(saved, file)
    if len(calls) == 3:
        os.truncate(file.name, file.tell() // 2)
        os.kill(os.getpid(), signal.SIGKILL)

torch.save = killed_while_writing
train(network(), RECIPE, Path(sys.argv[1]), make_clip=squares, save_every=0)
"""


def run(*command: str, **variables: str) -> subprocess.CompletedProcess:
    paths = os.pathsep.join(map(str, (HERE, HERE.parent, ROOT)))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | variables
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_run_killed_while_it_writes_its_checkpoint_goes_on_exactly(uninterrupted, tmp_path):
    (tmp_path / "worker.py").write_text(KILLED)
    out = tmp_path / "out"
    killed = run(str(tmp_path / "worker.py"), str(out))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(torch.load(out / "checkpoint.pt")["history"]) == 2  # the one before is whole
    resumed = network(seed=9)
    history = train(resumed, RECIPE, out, make_clip=squares)
    assert numbers(history) == numbers(uninterrupted[1])
    assert same_weights(resumed, uninterrupted[0])


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    train(network(), replace(RECIPE, steps=1), tmp_path, make_clip=squares)
    before, untouched = (tmp_path / "checkpoint.pt").read_bytes(), network()
    with pytest.raises(InputError, match=r"other settings of its recipe: seed=\S+ \(now \S+\), weight_decay=\S+ \(now"):
        train(untouched, replace(RECIPE, steps=1, seed=1, weight_decay=0.5), tmp_path, make_clip=squares)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert same_weights(untouched, network())


def test_minutes_end_a_run_with_the_step_that_exceeds_them():
    recipe = replace(RECIPE, steps=1, minutes=0.02)
    seconds = [row["seconds"] for row in train(network(), recipe, make_clip=squares)]
    assert sum(seconds[:-1]) < 1.2 <= sum(seconds)


def test_the_learning_rate_rises_then_falls():
    recipe = Recipe(steps=100, learning_rate=1e-3, final_learning_rate=1e-4, warm_up=0.2)
    wanted = {0: 1e-4, 0.1: 5.5e-4, 0.2: 1e-3, 0.6: 1e-4 + 9e-4 * (41 / 81) ** 0.9}  # 40 of 80 steps after warm-up
    for progress, rate in wanted.items():
        assert learning_rate(recipe, progress) == pytest.approx(rate)
    assert learning_rate(replace(recipe, warm_up=0.0), 0) == pytest.approx(1e-3)


ENCODER, REST, BANK = ({"encoder": i == 0, "frozen_late": i == 2} for i in range(3))
RELEASED_RATES = {  # learning rates of the released code: step -> (encoder, rest, identity bank)
    "aot_stills": {
        0: (2e-5, 2e-5, 2e-5),
        100: (2.076e-05, 2.76e-05, 2.76e-05),
        5000: (5.8e-05, 0.0004, 0.0004),
        5001: (5.799964000359996e-05, 0.0003999964000359996, 0.0003999964000359996),
        20000: (5.2554731034920964e-05, 0.0003455473103492096, 0.0003455473103492096),
        99999: (2.000234830895159e-05, 2.0023483089515867e-05, 2.0023483089515867e-05),  # the bank never freezes here
    },
    "aot_video": {
        0: (2e-5, 2e-5, 2e-5),
        5001: (3.799982947538946e-05, 0.00019999829475389456, 0.00019999829475389456),
        49999: (3.0101963248393e-05, 0.00012101963248392998, 0.00012101963248392998),
        50000: (3.010178142014583e-05, 0.00012101781420145829, 0),
        99999: (2.0001112356871806e-05, 2.001112356871804e-05, 0),
    },
}


@pytest.mark.parametrize("stage", RELEASED_RATES)
def test_learning_rates_are_those_of_the_released_code(stage):
    recipe = RECIPES[stage]
    for step, rates in RELEASED_RATES[stage].items():
        ours = [group_rate(recipe, step / recipe.steps, group) for group in (ENCODER, REST, BANK)]
        assert ours == pytest.approx(rates, rel=1e-9), step


def test_the_stages_of_aot_have_the_numbers_of_the_paper():
    stills, video = RECIPES["aot_stills"], RECIPES["aot_video"]
    for recipe in (stills, video):
        size = (recipe.steps, recipe.batch, recipe.frames, recipe.side, recipe.objects)
        assert size == (100_000, 16, 5, 465, 10)
        assert (recipe.warm_up, recipe.hardest, recipe.clip_norm, recipe.encoder_rate) == (0.05, 0.15, 5, 0.1)
    assert (stills.weight_decay, stills.auxiliary, stills.feed_predictions_from) == (0.03, 0.1, 1)
    assert (video.weight_decay, video.auxiliary, video.feed_predictions_from) == (0.07, 1, 0.5)
    assert (stills.footage, video.footage) == ({"stills": 1}, {"video": 1})
    assert stills.motion == video.motion == "paper"


def test_the_stages_of_sitvos_have_the_numbers_of_the_released_code():
    stills, video = RECIPES["sitvos_stills"], RECIPES["sitvos_video"]
    for recipe in (stills, video):
        assert (recipe.batch, recipe.frames, recipe.side, recipe.weight_decay) == (4, 3, 384, 0)
        assert (recipe.feed_predictions_from, recipe.hardest, recipe.jaccard, recipe.auxiliary) == (0, 1, 0, 0)
        for progress in (0, 0.25, 0.9):
            assert learning_rate(recipe, progress) == pytest.approx(1e-5 * (1 - progress) ** 0.9, rel=1e-4)
    assert (stills.steps, stills.footage) == (600_000, {"stills": 1})
    assert (video.steps, video.footage) == (800_000, {"video": 1})


def test_a_gpu_has_a_larger_budget_than_a_laptop():
    devices = "cpu", "mps", "cuda", "cuda:1", torch.device("cuda", 0)
    assert [pick_budget(device) for device in devices] == ["laptop", "laptop", "gpu", "gpu", "gpu"]
    laptop, gpu = (find_recipe(pick_budget(device)) for device in ("cpu", "cuda"))
    pixels = [recipe.steps * recipe.batch * recipe.frames * recipe.side**2 for recipe in (laptop, gpu)]
    assert pixels[1] > 5 * pixels[0] and laptop.side < gpu.side
    assert laptop.rolling and gpu.rolling  # no data but what is rendered


def test_gaps_grow_by_a_frame_every_3000_steps_up_to_25():
    recipe = RECIPES["sitvos_video"]
    for step, gap in ((0, 1), (2999, 1), (3000, 2), (30_000, 11), (71_999, 24), (72_000, 25), (799_999, 25)):
        assert longest_gap(recipe, step * recipe.batch) == gap
    pooled = replace(recipe, pool=8, footage="synthetic")  # a new clip per step, not one per row
    assert longest_gap(pooled, 3000) == 2 and longest_gap(RECIPES["aot_video"], 0) == 12


def test_video_is_drawn_with_the_gaps_of_the_recipe(monkeypatch):
    asked = []
    monkeypatch.setattr("minivos.training.samples.video_clips", lambda *settings: asked.append(settings[5]))
    clips_for(RECIPES["sitvos_video"], [samples_root()])
    assert [asked[0](number) for number in (0, 12_000, 3_199_999)] == [1, 2, 25]


def test_the_weight_of_the_jaccard_is_that_of_the_recipe():
    alone = RECIPES["sitvos_video"]
    cross, jaccard, both = (unrolled(replace(alone, jaccard=weight), 0.5)[0] for weight in (0.0, 1.0, 0.5))
    assert both == pytest.approx((cross + jaccard) / 2, rel=1e-5) and cross != pytest.approx(jaccard, rel=1e-2)


def test_the_share_of_hard_pixels_shrinks_over_the_first_half():
    recipe = Recipe(hardest=0.2)
    shares = [hardest_share(recipe, progress) for progress in (0, 0.25, 0.5, 0.75, 1)]
    assert shares == pytest.approx([1, 0.6, 0.2, 0.2, 0.2])


def test_the_moving_average_starts_fast():
    for count, decay in ((1, 2 / 11), (8, 0.5), (10_000, 0.99)):
        averaged, current = [torch.tensor([1.0, 5.0])], [torch.tensor([3.0, 1.0])]
        moving_average(0.99)(averaged, current, torch.tensor(count))
        wanted = decay * torch.tensor([1.0, 5.0]) + (1 - decay) * torch.tensor([3.0, 1.0])
        assert torch.allclose(averaged[0], wanted, atol=1e-6)


def roles(trained: VOSNetwork) -> dict[str, tuple[float, bool, bool]]:
    """Name of each weight that trains -> (weight decay, of the encoder, frozen late)."""
    name_of = {weight: name for name, weight in trained.named_parameters()}
    groups = weight_groups(trained, 0.03)
    return {name_of[p]: (g["weight_decay"], g["encoder"], g["frozen_late"]) for g in groups for p in g["params"]}


def test_every_weight_has_one_role():
    trained = network()
    found, weights = roles(trained), dict(trained.named_parameters())
    assert found.keys() == weights.keys()
    spared = {name for name, (decay, _, _) in found.items() if decay == 0}
    assert {name for name in spared if weights[name].dim() > 1} == {
        "decoder.conv_out.weight", "lstt.blocks.0.short_term.relative_value",
    }  # fmt: skip
    assert all(name in spared for name in weights if weights[name].dim() == 1)
    assert all(encoder == name.startswith("encoder.") for name, (_, encoder, _) in found.items())
    late = [name for name, (_, _, frozen_late) in found.items() if frozen_late]
    assert late == ["identity_bank.embed.weight", "identity_bank.embed.bias"]


def test_as_many_weights_decay_as_in_the_released_code():
    trained = minivos.create_model("aot_t")
    decays = [decay > 0 for decay, _, _ in roles(trained).values()]
    frozen = sum(not weight.requires_grad for weight in trained.parameters())
    unused = 1  # LSTT.mask_token
    assert (decays.count(True), decays.count(False), frozen) == (65 - unused, 41, 9)


GOLDEN = ROOT.parent / "shared" / "golden" / "aot"


@pytest.mark.skipif(not GOLDEN.exists(), reason="the values of the released code are not here")
@pytest.mark.parametrize("name", ["aot_t", "r50_aot_l", pytest.param("swinb_aot_l", marks=pytest.mark.slow)])
def test_the_same_weights_decay_as_in_the_released_code(name):
    """Each released tensor is filled with its role, so that the weights it is loaded into tell what they should be."""
    table = json.loads((GOLDEN / "tables.json").read_text())["weight_decay"][name]
    shapes = json.loads((GOLDEN / f"{name}.shapes.json").read_text())
    role = dict.fromkeys(table["no_decay"], 1) | dict.fromkeys(table["frozen"], 2)
    trained = minivos.create_model(name)
    minivos.load_official(trained, {key: torch.full(shape, float(role.get(key, 0))) for key, shape in shapes.items()})
    found = roles(trained)
    for key, weight in trained.named_parameters():
        ours = 2 if key not in found else int(found[key][0] == 0)
        assert ours == weight.flatten()[0], key


@pytest.mark.parametrize(("freeze_late_from", "moves"), [(0.0, False), (1.0, True)])
def test_the_identity_bank_can_be_frozen(freeze_late_from, moves):
    trained, before = network(), dict(network().named_parameters())
    train(trained, replace(RECIPE, steps=2, freeze_late_from=freeze_late_from), make_clip=squares)
    moved = {name for name, weight in trained.named_parameters() if not torch.equal(weight, before[name])}
    assert ("identity_bank.embed.weight" in moved) == moves and "lstt.blocks.0.value.weight" in moved


class KeepsMasks(EveryFrameCounts):
    """Answers background for every pixel, at a quarter of the size, and keeps the masks that it is fed."""

    sizing = Sizing(8, short_side=32, align_corners=True)

    def __init__(self) -> None:
        super().__init__(max_objects=4, schedule=Schedule())
        self.schedule_in_training, self.fed = self.schedule, []

    def read(self, seen, memory):
        ramp = torch.linspace(1, 3, 8)
        logits = torch.zeros(seen.shape[0], memory.previous.masks.shape[1], 8, 8)
        logits[:, 0] = ramp * ramp[:, None]
        return logits + 0 * self.weight, seen

    def memorize(self, seen, masks):
        self.fed.append(masks)
        return super().memorize(seen, masks)


def unrolled(recipe: Recipe, progress: float) -> tuple[float, KeepsMasks, torch.Tensor]:
    """The loss on a batch of one clip, the network, and the labels."""
    _, labels = squares(frames=3, size=(32, 32))
    labels = torch.from_numpy(labels)[None].long()
    fed = KeepsMasks()
    loss, _ = Unroll(fed)(torch.zeros(1, 3, 3, 32, 32), labels, recipe, progress)
    return loss.item(), fed, labels


@pytest.mark.parametrize(("progress", "predicted"), [(0.49, False), (0.5, True)])
def test_the_memory_gets_predictions_from_their_share_on(progress, predicted):
    _, fed, labels = unrolled(RECIPES["aot_video"], progress)
    truths = [one_hot(labels[:, t], 2) for t in range(3)]
    nothing = one_hot(torch.zeros_like(labels[:, 0]), 2)
    wanted = [truths[0], nothing, nothing] if predicted else truths
    assert all(torch.equal(a, b) for a, b in zip(fed.fed, wanted, strict=True))


def test_the_loss_is_a_mean_over_frames_at_full_size_plus_a_fading_one_on_the_given_frame():
    recipe = Recipe(auxiliary=0.5, hardest=1.0, feed_predictions_from=1.0)
    _, _, labels = unrolled(recipe, 0)
    ramp = torch.linspace(1, 3, 8)
    logits = torch.zeros(1, 3, 8, 8)
    logits[:, 0] = ramp * ramp[:, None]
    logits = resize(logits, (32, 32), align_corners=True)
    of = [segmentation_loss(logits, labels[:, t], torch.ones(1, 3) > 0, 1.0).item() for t in range(3)]
    for progress, weight in ((0, 1), (0.25, 0.5), (0.5, 0), (0.9, 0)):
        assert unrolled(recipe, progress)[0] == pytest.approx((of[1] + of[2]) / 2 + weight * of[0], rel=1e-5)


def test_frames_must_suit_the_network():
    aligned = tiny_aot(layers=1, align_corners=True)  # wants 8n + 1
    with pytest.raises(InputError, match="Frames of 32 pixels do not suit this network: use side=33"):
        train(aligned, RECIPE, make_clip=squares)
    assert fit_side(aligned, RECIPE).side == 33 and fit_side(network(), RECIPE) == RECIPE
    assert fit_side(minivos.create_model("aot_t"), RECIPES["aot_stills"]).side == 465
    with torch.device("meta"):
        assert fit_side(minivos.create_model("sst"), RECIPES["sst_video"]).side == 464


@pytest.mark.parametrize("stage", ["aot_stills", "aot_video"])
def test_aot_t_trains_by_the_recipes_of_the_paper(stage):
    recipe = replace(RECIPES[stage], steps=2, batch=1, side=65)
    torch.manual_seed(0)
    trained = minivos.create_model("aot_t")
    before = {name: weight.clone() for name, weight in trained.state_dict().items()}
    history = train(trained, recipe, make_clip=clips_for(recipe, [samples_root()]))
    assert [row["learning_rate"] for row in history] == [learning_rate(recipe, progress) for progress in (0, 0.5)]
    assert all(0 < row["loss"] < 10 for row in history)
    moved = {name for name, weight in trained.state_dict().items() if not torch.equal(weight, before[name])}
    still = before.keys() - moved
    assert {"project.weight", "identity_bank.embed.weight", "decoder.conv_out.weight"} <= moved
    assert {"encoder.body.conv_stem.weight", "encoder.body.blocks.3.0.bn1.weight"} <= still


@pytest.mark.parametrize("stage", ["sitvos_stills", "sitvos_video"])
def test_sitvos_trains_by_the_recipes_of_its_stages(stage):
    recipe = replace(RECIPES[stage], steps=2, batch=1, side=64)
    torch.manual_seed(0)
    trained = minivos.create_model("sitvos")
    before = {name: weight.clone() for name, weight in trained.state_dict().items()}
    history = train(trained, recipe, make_clip=clips_for(recipe, [samples_root()]))
    assert all(0 < row["loss"] < 10 for row in history)
    moved = {name for name, weight in trained.state_dict().items() if not torch.equal(weight, before[name])}
    assert {"embed_mask.weight", "transformer.last_read.query.weight", "mask_encoder.body.conv1.weight"} <= moved
    assert "encoder.body.bn1.weight" in before.keys() - moved


@pytest.mark.parametrize(("stage", "steps"), [("sst_video", 4), ("hst_stills", 2), ("hst_video", 2)])
def test_sst_and_hst_train_by_the_recipes_of_their_stages(stage, steps):
    recipe = replace(RECIPES[stage], steps=steps, batch=1, side=64, learning_rate=1e-3)
    torch.manual_seed(0)
    trained = minivos.create_model(f"{stage.split('_')[0]}_mini")
    before = {name: weight.clone() for name, weight in trained.state_dict().items()}
    history = train(trained, recipe, make_clip=clips_for(recipe, [samples_root()]))
    assert all(0 < row["loss"] < 10 for row in history)
    still = {name for name, weight in trained.state_dict().items() if torch.equal(weight, before[name])}
    assert not still


def test_a_run_on_finished_samples_goes_on_exactly(tmp_path):
    recipe, calls = replace(RECIPE, steps=4, pool=0), []

    def finished(number: int):
        return squares(number, frames=3, size=(32, 32))

    def fails_late(number: int):
        calls.append(number)
        if number == 5:  # the second clip of step 2
            raise KeyboardInterrupt
        return finished(number)

    whole, resumed = network(), network()
    history = train(whole, recipe, make_clip=finished)
    with pytest.raises(KeyboardInterrupt):
        train(resumed, recipe, tmp_path, make_clip=fails_late, save_every=0)
    assert calls == [0, 1, 2, 3, 4, 5]
    assert numbers(train(resumed, recipe, tmp_path, make_clip=finished, workers=1)) == numbers(history)
    assert same_weights(resumed, whole)


def test_recipes_and_data_that_do_not_go_together_are_refused(tmp_path):
    with pytest.raises(InputError, match="got no data of video for footage of 100% video"):
        clips_for(RECIPES["aot_video"])
    with pytest.raises(InputError, match="got data in .* for footage of 100% synthetic; expected none"):
        clips_for(Recipe(), [tmp_path])
    with pytest.raises(InputError, match="with footage that has no use for them"):
        clips_for(RECIPES["aot_stills"], [tmp_path], photos=tmp_path)


def test_a_loss_that_is_no_number_ends_the_training():
    network = tiny_aot()
    network.decoder.conv_out.weight.data[:] = torch.nan
    with pytest.raises(InputError, match="got a loss of nan at step 0: lower the learning rate"):
        train(network, RECIPE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"footage": "film"}, "got footage='film'; expected one of synthetic, video, stills, cutouts"),
        ({"footage": {"vidoe": 1}}, "got footage='vidoe'; expected one of"),
        ({"footage": {"video": 0.5, "stills": 0.4}}, "got shares of footage that add up to 0.9; expected 1"),
        ({"footage": {"video": "all"}}, "got 'all' as the share of video; expected a number, 0 to 1"),
        ({"footage": {"video": math.nan}}, "got nan as the share of video; expected a number, 0 to 1"),
        ({"footage": 3}, "got footage=3; expected shares by kind"),
        ({"motion": "slow"}, "got motion='slow'; expected one of film, paper"),
        ({"frames": 1}, "got frames=1; expected a whole number, 2 or more"),
        ({"steps": "9"}, "got steps='9'; expected a whole number, 1 or more"),
        ({"learning_rate": math.nan}, "got learning_rate=nan; expected a number, 0 or more"),
        ({"learning_rate": math.inf}, "learning_rate=inf must be finite"),
        ({"objects": 101}, "objects=101 must be 100 or fewer"),
        ({"warm_up": 5.0}, "warm_up=5.0 must be 0 to 1"),
        ({"hardest": 0.0}, "hardest=0.0 must be above 0"),
    ],
)
def test_recipes_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Recipe(**settings)


def test_mean_j_by_hand():
    truth = torch.zeros(1, 4, 1, 4)
    truth[0, 1, 0, :2] = truth[0, 2, 0, 2:] = 1
    found = torch.zeros(1, 4, 1, 4)
    found[0, 1, 0, :1] = found[0, 2, 0, 1:] = 1
    present = torch.tensor([[True, True, True, False]])
    assert mean_j(found, truth, present).item() == pytest.approx((1 / 2 + 2 / 3) / 2)


TWO_PROCESSES = """
import sys, torch, torch.distributed as dist
from test_train import GLOBAL, squares, tiny_aot, train

dist.init_process_group("gloo")
trained = tiny_aot(layers=1, shuffle_identities=False)
train(trained, GLOBAL, make_clip=squares)
if dist.get_rank() == 0:
    gradients = {name: p.grad for name, p in trained.named_parameters()}
    torch.save({"weights": trained.state_dict(), "gradients": gradients}, sys.argv[1])
dist.destroy_process_group()
"""
GLOBAL = replace(RECIPE, steps=2, batch=4)


@pytest.mark.slow
def test_two_processes_train_as_one_does_with_the_same_batch(tmp_path):
    (tmp_path / "worker.py").write_text(TWO_PROCESSES)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = run(*launcher, str(tmp_path / "worker.py"), str(tmp_path / "two.pt"))
    assert done.returncode == 0, done.stderr
    two = torch.load(tmp_path / "two.pt")

    one = tiny_aot(layers=1, shuffle_identities=False)
    train(one, GLOBAL, make_clip=squares)
    assert not any(torch.equal(a, b) for a, b in zip(one.parameters(), tiny_aot(layers=1).parameters(), strict=True))
    for name, weight in one.named_parameters():
        assert torch.allclose(two["gradients"][name], weight.grad, atol=1e-5), name
        if not name.endswith("self_attention.key.bias"):  # its true gradient is zero, AdamW blows up the rounding
            assert torch.allclose(two["weights"][name], weight, atol=1e-5), name


def test_a_batch_that_does_not_divide_among_the_processes_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="A batch of 4 does not divide among 3 processes: choose a multiple"):
        train(network(), GLOBAL, make_clip=squares)


def test_rendered_clips_are_as_long_as_asked_and_grow_harder_clip_by_clip(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "minivos.training.samples.render", lambda *_, **given: asked.append(given) or render(0, frames=1)
    )
    recipe = replace(Recipe(), steps=10, batch=4, easy=0.5, frames=9)
    for pool, last_easy in ((0, 20), (16, 5)):  # clips until all are hard: 4 in a step, or drawn from a pool
        make_clip = synthetic_clips(replace(recipe, pool=pool))
        asked.clear()
        for number in (0, last_easy - 1, last_easy):
            make_clip(number)
        start, nearly, full = (given["difficulty"] for given in asked)
        assert start == pytest.approx(0.2) and nearly < 1 == full and {given["frames"] for given in asked} == {9}
