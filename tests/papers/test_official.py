"""The published networks are the released ones: their keys, their numbers, and what a bad checkpoint is told."""

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from minivos.errors import InputError
from minivos.models import create_model, list_models
from minivos.official import load_official
from reference_weights import Numbers, layouts, released, state_dict
from released_runs import CASES, ReleasedRun

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "aot"
PUBLISHED = [name for name in list_models() if name in layouts()]
WITH_NUMBERS = ("aot_t", "r50_aot_l")
UNUSED = "LSTT.mask_token"  # the released networks carry it and never look at it


# The numbers


@cache
def run(variant: str, explicit: bool, precision: torch.dtype = torch.float64) -> ReleasedRun:
    """Our run over the seeded clip: all schedules with the fast attention, the first one with the explicit form.

    In float64, so that it differs from the reference numbers by *their* rounding alone, the same on every processor.
    """
    network = load_official(create_model(variant), state_dict(variant)).to(precision)
    reference = released(variant)

    def feedback(name: str, logits: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(reference.labels[name].settle(logits[0].argmax(0).numpy()))

    with torch.inference_mode():
        ours = ReleasedRun(network, reference.seed, reference.frames, reference.video, reference.network)
        ours.of_the_first_frame()
        for case in ["video"] if explicit else CASES:
            ours.follow(case, feedback, record=explicit)
    return ours


def differences(ours: dict[str, torch.Tensor], wanted: dict[str, Numbers]) -> dict[str, float]:
    """The largest difference of each quantity, over the numbers sampled and the moments of the whole."""
    largest = {}
    for name, numbers in wanted.items():
        array = ours[name].numpy()
        assert array.shape == numbers.shape, name
        sampled = abs(array.ravel()[:: numbers.step] - numbers.values).max()
        largest[name] = max(sampled, abs(moments(array) - numbers.moments).max())
    return largest


def moments(x: np.ndarray) -> np.ndarray:
    """Mean, standard deviation and largest size."""
    return np.array([x.mean(dtype=float), x.std(dtype=float), abs(x).max()])


def is_weights(name: str) -> bool:
    return name.endswith("/weights")


def assert_same(ours: dict[str, torch.Tensor], wanted: dict[str, Numbers]) -> None:
    off = differences(ours, wanted)
    assert off
    assert not {name: value for name, value in off.items() if not value < (1e-5 if is_weights(name) else 1e-4)}


def expected(variant: str, explicit: bool) -> dict[str, Numbers]:
    """What a run can be compared with; weights are only there when they were recorded."""
    ours = {
        name: numbers
        for name, numbers in released(variant).numbers.items()
        if (not name.startswith("every") if explicit else not is_weights(name))
    }
    assert len(ours) > 20
    return ours


@pytest.mark.parametrize("explicit", [False, True], ids=["fast", "explicit"])
@pytest.mark.parametrize("variant", WITH_NUMBERS)
def test_every_quantity_is_the_released_one(variant, explicit):
    ours = run(variant, explicit)
    assert_same(ours.found, expected(variant, explicit))
    labels = released(variant).labels
    assert not [name for name, fed in ours.fed.items() if not labels[name].is_same(fed.numpy())]


@pytest.mark.parametrize("variant", WITH_NUMBERS)
def test_float32_is_float64_but_for_rounding(variant):
    single, double = (run(variant, False, precision) for precision in (torch.float32, torch.float64))
    assert single.found.keys() == double.found.keys() and single.found["video/logits1"].dtype == torch.float32
    off = {
        name: (abs(single.found[name] - exact).max() / abs(exact).max()).item() for name, exact in double.found.items()
    }
    assert not {name: value for name, value in off.items() if not value < 3e-5}  # of its largest number
    labels = released(variant).labels
    assert not [name for name, fed in single.fed.items() if not labels[name].is_same(fed.numpy())]


@pytest.mark.parametrize("variant", WITH_NUMBERS)
def test_long_term_memory_holds_the_frames_that_the_released_one_holds(variant):
    kept = run(variant, False).kept
    assert kept == {
        "video": [1, 1, 1, 1, 1],
        "every1": [1, 2, 3, 4, 5],
        "every2": [1, 1, 2, 2, 3, 3, 4],
        "every5": [1, 1, 1, 1, 1, 2, 2],
    }


@pytest.mark.skipif(not GOLDEN.exists(), reason="the full reference numbers are not here")
@pytest.mark.parametrize("variant", WITH_NUMBERS)
def test_all_the_numbers_that_there_are(variant):
    stored = np.load(GOLDEN / f"{variant}.npz")
    ours = run(variant, False).found | {
        name: value for name, value in run(variant, True).found.items() if is_weights(name)
    }
    whole = {}
    for name in ours:
        values = stored[name]
        if f"{name}/step" in stored:
            step, shape, of_all = (stored[f"{name}/{part}"] for part in ("step", "shape", "stat"))
            whole[name] = Numbers(int(step), values, tuple(shape), of_all)
        else:
            whole[name] = Numbers(1, values.ravel(), values.shape, moments(values))
    assert released(variant).numbers.keys() == whole.keys()
    assert_same(ours, whole)
    for name, labels in released(variant).labels.items():
        assert labels.is_same(stored[name])


# The keys


@cache
def without_values(variant: str) -> torch.nn.Module:
    """A network whose weights are allocated but not drawn: for tests that only load."""
    with torch.device("meta"):
        network = create_model(variant)
    return network.to_empty(device="cpu")


def numbered(variant: str, prefix: str = "") -> dict[str, torch.Tensor]:
    """A checkpoint whose tensors hold one number each, their position; a view, so that files stay small."""
    return {
        prefix + key: torch.tensor(float(i)).expand(shape) for i, (key, shape) in enumerate(layouts()[variant].items())
    }


def positions(network: torch.nn.Module) -> dict[str, float]:
    """Which numbered tensor each of ours was given; AssertionError for one that holds several numbers."""
    numbers = {}
    for key, value in network.state_dict().items():
        numbers[key] = value.flatten()[0].item()
        assert (value == numbers[key]).all(), key
    return numbers


@pytest.mark.parametrize("variant", PUBLISHED)
def test_every_released_tensor_finds_its_place_and_no_place_is_left_empty(variant):
    network = load_official(without_values(variant), numbered(variant))
    keys = list(layouts()[variant])
    wanted = {float(i) for i, key in enumerate(keys) if key != UNUSED}
    assert Counter(positions(network).values()) == Counter(wanted)


def test_all_published_variants_are_covered():
    assert PUBLISHED == ["aot_t", "aot_s", "aot_b", "aot_l", "r50_aot_l", "swinb_aot_l"]
    assert [UNUSED in keys for keys in layouts().values()] == [True] * 6


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("as_file", [True, False])
def test_checkpoints_as_training_leaves_them_are_understood(nest, prefix, as_file, tmp_path):
    source = numbered("aot_t", prefix)
    wanted = positions(load_official(without_values("aot_t"), numbered("aot_t")))
    if nest:
        source = {nest: source, "optimizer": {"lr": 1e-4}, "step": 100}
    if as_file:
        torch.save(source, path := tmp_path / "aot_t.pth")
        source = path
    with torch.no_grad():
        network = without_values("aot_t")
        for value in network.parameters():
            value.zero_()
    assert positions(load_official(network, source)) == wanted


def test_indices_that_the_released_code_stores_are_left_out():
    swin = numbered("swinb_aot_l") | {"encoder.layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49)}
    load_official(without_values("swinb_aot_l"), swin)
    mobile = numbered("aot_t")
    del mobile[UNUSED]
    load_official(without_values("aot_t"), mobile)


# Bad checkpoints


class Run:
    """What a hostile pickle does: running code while it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def less(key: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in numbered("aot_t").items() if name != key}


BAD = {
    "a deeper variant": (lambda: numbered("aot_s"), r"lacks 0 of the \d+ .* unknown ones \(.*lstt\.blocks\.1"),
    "another encoder": (lambda: numbered("r50_aot_l"), r"of another network: it lacks \d+ of the \d+ tensors"),
    "a missing key": (lambda: less("LSTT.layers.0.linear_Q.bias"), r"lacks 1 .*\(lstt\.blocks\.0\.match\.bias\)"),
    "an extra key": (lambda: numbered("aot_t") | {"LSTT.more": torch.zeros(1)}, r"has 1 unknown ones \(LSTT\.more\)"),
    "another shape": (
        lambda: numbered("aot_t") | {"patch_wise_id_bank.weight": torch.zeros(256, 11, 16, 16)},
        r"identity_bank\.embed\.weight has shape \(256, 11, 16, 16\), the network expects \(256, 11, 17, 17\)",
    ),
    "no tensors": (lambda: {"epoch": 3}, "no plain state dict of tensors"),
    "numbers for names": (lambda: {0: torch.zeros(1)}, "no plain state dict of tensors"),
    "a bare tensor": (lambda: torch.zeros(1), "no plain state dict of tensors"),
    "a NaN": (
        lambda: numbered("aot_t") | {"patch_wise_id_bank.bias": torch.full((256,), torch.nan)},
        r"identity_bank\.embed\.bias holds 256 numbers that are NaN or infinite",
    ),
    "an empty one": (dict, r"lacks \d+ of the \d+ tensors"),
}


def assert_refused(source, reason: str, variant: str = "aot_t") -> None:
    """InputError with that reason, and no weight has changed."""
    network = without_values(variant)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.fill_(-1)
    with pytest.raises(InputError, match=reason):
        load_official(network, source)
    assert set(positions(network).values()) == {-1}


@pytest.mark.parametrize("as_file", [True, False])
@pytest.mark.parametrize("kind", BAD)
def test_a_checkpoint_that_does_not_fit_is_refused_and_changes_nothing(kind, as_file, tmp_path):
    make, reason = BAD[kind]
    source = make()
    if as_file:
        torch.save(source, path := tmp_path / "released.pth")
        source, reason = path, rf"released\.pth.*{reason}"
    elif kind == "a bare tensor":
        pytest.skip("only a file can hold one")
    assert_refused(source, reason)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    torch.save(numbered("aot_t"), path := tmp_path / "cut.pth")
    whole = path.read_bytes()
    for share in (0, 0.3, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        assert_refused(path, r"cut\.pth is corrupt or no weights file")
    assert_refused(tmp_path / "nowhere.pth", "There is no weights file .*nowhere.pth")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    torch.save({"state_dict": numbered("aot_t"), "more": Run(tmp_path / "ran")}, path := tmp_path / "hostile.pth")
    assert_refused(path, "could run code, so it was refused")
    assert not (tmp_path / "ran").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have run


def test_networks_that_were_never_released_are_told_so():
    assert_refused(numbered("aot_t"), "no released checkpoint for this AOT", variant="aot_mini")
