"""A mix of footage: its shares, its folders, and that nothing but seed and number decides a sample."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from test_command import run
from test_footage import OBJECT, chance, painted, write_davis, write_frames

from minivos.errors import InputError
from minivos.training import film
from minivos.training.checkpoints import check_recipe
from minivos.training.film import Light, Sheet, as_colours, as_film, lay_on, moving_picture, random_motion, shoot
from minivos.training.footage import training_videos
from minivos.training.loop import train
from minivos.training.pool import LANES, ClipLanes
from minivos.training.recipe import RECIPES, Recipe, as_shares, read_shares
from minivos.training.samples import clips_for, draw_batches, kind_of
from minivos.training.still_files import find_stills
from minivos.training.stills import cutouts_in, photo_sheets
from tiny import squares, tiny_aot

MIX = {"synthetic": 0.3, "video": 0.3, "stills": 0.2, "cutouts": 0.2}
RECIPE = Recipe(steps=4, batch=4, frames=3, side=32, objects=3, pool=8, footage=MIX)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Small data of each kind: two videos, four stills, three cut-outs, a photograph."""
    root = tmp_path_factory.mktemp("data")
    write_davis(root / "video", {"a": squares(0, 6, (48, 64)), "b": squares(1, 6, (48, 64))}, {"c": squares(2, 3)})
    (root / "video/ImageSets/2017/val.txt").write_text("c")
    write_frames(root / "stills/JPEGImages", root / "stills/Annotations", *squares(3, 4, (60, 50)))
    rng = chance()
    for folder, channels in (("cutouts", 4), ("photos", 3)):
        (root / folder).mkdir()
        for number in range(3):
            picture = rng.integers(0, 256, (40, 50, channels), dtype=np.uint8)
            if channels == 4:
                picture[..., 3] = 0
                picture[8:32, 10:40, 3] = 255
            Image.fromarray(picture).save(root / folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def data(tree):
    return {kind: [tree / kind] for kind in ("video", "stills", "cutouts")}


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# ------------------------------------------------------------------------------------------------------------ shares
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_each_kind_has_its_share_of_any_stretch(seed):
    recipe = replace(RECIPE, seed=seed)
    for start in (0, 12_345):
        counts = Counter(kind_of(recipe, number) for number in range(start, start + 100))
        assert all(abs(counts[kind] - 100 * share) <= 3 for kind, share in MIX.items())
    batches = [Counter(kind_of(recipe, 10 * step + row) for row in range(10)) for step in range(50)]
    assert all(batch["synthetic"] in (2, 3, 4) for batch in batches)


def test_a_kind_comes_from_its_own_folders(data, tree, monkeypatch):
    for kind in ("video_clips", "film_clips", "synthetic_samples"):
        monkeypatch.setattr(
            f"minivos.training.samples.{kind}",
            lambda *settings, kind=kind: lambda number: (kind, settings[0], number),
        )
    make_clip = clips_for(RECIPE, data, tree / "photos")
    made = {"synthetic": "synthetic_samples", "video": "video_clips", "stills": "film_clips", "cutouts": "film_clips"}
    for number in range(40):
        name, source, asked = make_clip(number)
        kind = kind_of(RECIPE, number)
        assert (name, asked) == (made[kind], number)
        assert kind != "video" or source == data["video"]


@pytest.mark.parametrize("motion", ["film", "paper"])
def test_samples_are_finished_whatever_their_kind(data, tree, motion):
    make_clip = clips_for(replace(RECIPE, motion=motion), data, tree / "photos")
    for number in range(20):
        frames, labels = make_clip(number)
        assert frames.shape == (3, 32, 32, 3) and labels.shape == (3, 32, 32)
        assert frames.dtype == labels.dtype == np.uint8
        ids = set(np.unique(labels).tolist()) - {255}
        assert ids <= {0, 1, 2, 3} and ids <= {0, *np.unique(labels[0]).tolist()}


# ---------------------------------------------------------------------------------------- seed and number decide all
def test_a_sample_depends_on_seed_and_number_alone(data, tree):
    forwards, backwards = (clips_for(RECIPE, data, tree / "photos") for _ in range(2))
    samples = [forwards(number) for number in range(16)]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    again = [backwards(number) for number in reversed(range(16))][::-1]
    assert all(same(*pair) for pair in zip(samples, again, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    others = [clips_for(replace(RECIPE, seed=1), data, tree / "photos")(number) for number in range(16)]
    assert not any(same(*pair) for pair in zip(samples, others, strict=True))


def test_workers_make_the_same_batches(data, tree):
    make_clip = clips_for(RECIPE, data, tree / "photos")
    for workers in (1, 2):
        ours, theirs = (draw_batches(make_clip, RECIPE, 3, range(4), count) for count in (0, workers))
        for _ in range(5):
            one, other = next(ours), next(theirs)
            assert torch.equal(one.frames, other.frames) and torch.equal(one.labels, other.labels)


def test_a_run_on_a_mix_goes_on_exactly(data, tree, tmp_path):
    def losses(history):
        return [row["loss"] for row in history]

    make_clip = clips_for(RECIPE, data, tree / "photos")
    whole = train(tiny_aot(layers=1), RECIPE, None, "cpu", make_clip)
    part = replace(RECIPE, steps=4)

    def stops(number):
        if number == 11:
            raise KeyboardInterrupt
        return make_clip(number)

    with pytest.raises(KeyboardInterrupt):
        train(tiny_aot(layers=1), part, tmp_path, "cpu", stops, save_every=0)
    history = train(tiny_aot(layers=1), part, tmp_path, "cpu", clips_for(RECIPE, data, tree / "photos"))
    assert len(history) == 4 and losses(history) == losses(whole)


def test_a_clip_of_a_lane_serves_some_samples_and_no_other_worker():
    made, batch, share = Counter(), 8, 0.5
    workers = [ClipLanes(lambda n: made.update([n]) or squares(n), 32, 0, batch, share) for _ in range(2)]
    for step in range(400):
        for row in range(0, batch, 2):  # half of the samples
            workers[step % 2].sample(step * batch + row, 3, 32, 2)
        assert len(workers[step % 2].clips) <= 32
    assert max(made.values()) == 1 and 6 < 1600 / len(made) < 10
    assert LANES % 2 == 0


def test_without_a_pool_each_sample_has_a_clip_of_its_own():
    made = []
    lanes = ClipLanes(lambda n: made.append(n) or squares(n), 0, 0, 4, 1.0)
    for number in range(6):
        lanes.sample(number, 3, 32, 2)
    assert made == list(range(6)) and not lanes.clips


# ------------------------------------------------------------------------------------------------------ which video
def test_a_list_of_davis_may_be_named_but_none_that_is_kept(tree):
    root = tree / "video"
    (root / "ImageSets/2016").mkdir()
    (root / "ImageSets/2016/fit.txt").write_text("b")
    (root / "ImageSets/2016/trainval.txt").write_text("a\nc")
    assert {folder.name for folder, _ in training_videos(root)} == {"a", "b"}
    assert {folder.name for folder, _ in training_videos(f"{root}:fit")} == {"b"}
    for split in ("val", "trainval"):
        with pytest.raises(InputError, match="whose clip c is kept for val in .*val.txt; expected clips for training"):
            training_videos(f"{root}:{split}")
    with pytest.raises(InputError, match="there is no .*2016.dev.txt"):
        training_videos(f"{root}:dev")
    assert len(find_stills(root)) == 12 and len(find_stills(f"{root}:fit")) == 6
    with pytest.raises(InputError, match="kept for val"):
        find_stills(f"{root}:val")


def test_youtube_has_no_lists(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="expected YouTube-VOS without the name of a list: leave :fit out"):
        training_videos(f"{tmp_path}:fit")


# ---------------------------------------------------------------------------------------------------------- refusals
def options(tree, *kinds) -> list[str]:
    return [word for kind in kinds for word in ("--data", f"{kind}={tree / kind}")]


def test_what_cannot_be_is_refused_in_one_line(tree, tmp_path):
    def refused(*words) -> str:
        status, printed = run("--steps", 1, "--out", tmp_path / "out", "--no-score", *words)
        assert status == 2 and printed.count("minivos: ") == 1 and not (tmp_path / "out").exists(), printed
        return printed

    half = ("--footage", "synthetic=.5", "--footage", "video=.5")
    assert "got footage='vidoe'; expected one of" in refused("--footage", "vidoe=1")
    assert "add up to 0.9; expected 1" in refused("--footage", "synthetic=.4", "--footage", "video=.5")
    assert "expected KIND=SHARE, such as synthetic=.4" in refused("--footage", "synthetic", "--footage", "video")
    assert "expected each kind once" in refused("--footage", "video=.5", "--footage", "video=.5")
    assert "got no data of video" in refused(*half)
    mixed = refused("--recipe", "mixed", *options(tree, "video"))
    assert "got no data of stills and cutouts" in mixed and "--data stills=DIR --data cutouts=DIR" in mixed
    assert "got data for stills with footage of 50% synthetic, 50% video" in refused(
        *half, *options(tree, "video", "stills")
    )
    assert "expected a folder, or KIND=FOLDER" in refused(*half, "--data", "vidoe=x")
    both = ("--footage", "video=.5", "--footage", "stills=.5", "--data", tree / "video")
    assert "expected the kind of each folder: --data video=DIR --data stills=DIR" in refused(*both)
    assert "expected a kind for each" in refused(*both, *options(tree, "stills"))
    assert "without pictures to lie on" in refused("--footage", "cutouts", *options(tree, "cutouts"))
    assert "got 2 folders of photographs" in refused(*options(tree, "photos"), "--photos", tree / "photos")
    assert "kept for val" in refused("--footage", "video", "--data", f"{tree / 'video'}:val")


def test_the_command_trains_on_a_mix_and_says_so_beside_the_weights(tree, tmp_path):
    words = ("--steps", 1, "--out", tmp_path, "--no-score", "--recipe", "mixed", "--set", "batch=4")
    status, printed = run(*words, *options(tree, "video", "stills", "cutouts", "photos"))
    facts = json.loads((tmp_path / "aot_mini.json").read_text())
    assert status == 0 and facts["recipe"]["footage"] == RECIPES["mixed"].footage, printed
    assert 0 < facts["share of time spent on data"] < 1


def test_cut_outs_need_alpha(tree):
    with pytest.raises(InputError, match="has no alpha, which says what of it is the object"):
        cutouts_in([tree / "photos"])(chance())
    (tree / "none").mkdir()
    with pytest.raises(InputError, match="none holds no picture"):
        cutouts_in([tree / "none"])


def test_shares_are_read_and_old_checkpoints_go_on(tmp_path):
    assert read_shares(["video"]) == as_shares("video") == as_shares({"video": 1, "stills": 0}) == {"video": 1}
    assert list(as_shares({"stills": 0.5, "synthetic": 0.5})) == ["synthetic", "stills"]
    for new in (Recipe(), RECIPES["aot_stills"], RECIPES["aot_video"]):
        (kind,) = new.footage
        old = {name: value for name, value in vars(new).items() if name != "motion"} | {"footage": kind}
        check_recipe(tmp_path, old, new)
        with pytest.raises(InputError, match="footage="):
            check_recipe(tmp_path, old, replace(new, footage={"video": 0.5, "stills": 0.5}))


# -------------------------------------------------------------------------------------------------------------- film
def sheet(*ids: int, size=(60, 90)) -> Sheet:
    """Objects in one colour on black, as `painted` has them."""
    pictures, labels = painted(squares(1, 1, size, ids)[1])
    return film.sheet_of(chance(), (pictures, labels), len(ids), 0.0)


def differing(clip) -> float:
    """Share of the pixels whose label, void apart, is not what their colour says: half and more of OBJECT."""
    frames, labels = clip
    return float(((frames[..., 1] >= OBJECT[1] / 2) != (labels > 0))[labels != 255].mean())


@pytest.mark.parametrize(("blurred", "most"), [(0, 0.001), (1, 0.1)])
def test_labels_lie_on_what_moves_bends_and_turns(blurred, most, monkeypatch):
    monkeypatch.setattr(film, "BLURRED", blurred)
    for seed in range(12):
        assert differing(as_film(*moving_picture(chance(seed), sheet(1, 2), 5, 64))) < most, seed


def test_an_object_laid_on_shows_where_its_label_is(monkeypatch):
    monkeypatch.setattr(film, "BLURRED", 0)
    monkeypatch.setattr(Light, "on", lambda self, colours: colours)
    for seed in range(12):
        below = torch.zeros(4, 3, 64, 64), torch.zeros(4, 64, 64, dtype=torch.uint8)
        clip = as_film(*lay_on(chance(seed), *below, sheet(1)))
        assert differing(clip) < 0.001 and set(np.unique(clip[1])) == {0, 1}


def test_ids_follow_those_below_and_void_stays():
    labels = torch.zeros(2, 64, 64, dtype=torch.uint8)
    labels[:, :8], labels[:, 60:] = 2, 255
    _, both = lay_on(chance(), torch.zeros(2, 3, 64, 64), labels, sheet(1))
    assert set(both.unique().tolist()) == {0, 2, 3, 255}


@pytest.mark.parametrize("ids", [(), (255,)])
def test_a_still_without_objects_adds_none(ids, monkeypatch):
    monkeypatch.setattr(film, "TWINS", 1)
    clips = film.film_clips(lambda rng: sheet(*ids), lambda rng: sheet(*ids), (1,), 2, 64, 3, 0)
    assert not ((labels := clips(0)[1]) % 255).any() and (labels == 255).any() == (255 in ids)


def test_some_objects_have_a_twin(monkeypatch):
    drawn = []
    for share, twins in ((0, 0), (1, 2)):
        monkeypatch.setattr(film, "TWINS", share)
        make_clip = film.film_clips(lambda rng: sheet(1), lambda rng: drawn.append(rng) or sheet(1), (2,), 3, 64, 3, 0)
        drawn.clear()
        make_clip(0)
        assert len(drawn) == 2 - twins


def test_things_keep_going_where_they_go():
    motion = random_motion(chance(), np.zeros(2), 0.5, 0.1, 0.4, 0.05)
    steps = motion.centres(torch.arange(6.0)).diff(dim=0)
    assert torch.nn.functional.cosine_similarity(steps[1:], steps[:-1]).min() > 0.8
    moved = motion.look(torch.arange(4.0), (40, 40), 64).diff(dim=0).norm(dim=-1)
    assert moved.min() >= 0 and 0 < moved.mean() < 1
    bends = motion.folds(torch.arange(4.0))
    assert 0 < bends.diff(dim=0).abs().max() < bends.abs().max()


def test_blur_goes_along_the_movement_and_leaves_labels_in_its_middle(monkeypatch):
    motion = random_motion(chance(1), np.zeros(2), 0.8, 0.15, 0.0, 0.0)
    sharp, blurred = [], []
    for share, found in ((0, sharp), (1, blurred)):
        monkeypatch.setattr(film, "BLURRED", share)
        found += shoot(chance(), sheet(1), motion, 3, 64, "zeros")
    assert torch.equal(sharp[2], blurred[2]) and not torch.equal(sharp[0], blurred[0])
    assert ((blurred[1] > 0.05) & (blurred[1] < 0.95)).sum() > 1.5 * ((sharp[1] > 0.05) & (sharp[1] < 0.95)).sum()


def test_what_lies_outside_of_a_picture_is_void_not_an_object():
    everywhere = Sheet(torch.ones(3, 40, 40), torch.ones(1, 40, 40), (1,))
    motion = random_motion(chance(), np.array([1.0, 0.0]), 0.8, 0.01, 0.0, 0.0)
    _, _, labels = shoot(chance(), everywhere, motion, 2, 64, "reflection")
    assert set(labels.unique().tolist()) == {1, 255} and (labels[0, :, :8] == 255).all()


def test_light_drifts_and_stays_in_range(tree):
    colours, _ = as_colours(squares(0, 4, (32, 32)))
    lit = torch.stack([Light.draw(chance(seed)).on(colours) for seed in range(20)])
    assert lit.min() >= 0 and lit.max() <= 1
    means = lit.mean(dim=(2, 3, 4))
    assert means[:, 0].std() > 0.02 and (means.diff(dim=1).abs() > 1e-3).any(dim=1).float().mean() > 0.9
    photo = photo_sheets(tree / "photos")(chance())
    assert len(photo.covers) == 0 and not moving_picture(chance(), photo, 2, 32)[1].any()
