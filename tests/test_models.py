"""Names, settings and weight files."""

import math
import pickle
from pathlib import Path

import pytest
import torch

import minivos.models as models
from minivos.errors import InputError
from minivos.models import create_model, has_weights, list_models, load_weights, save_weights
from minivos.tracker import Tracker

SMALL = {"layers": 1, "width": 32, "heads": 2, "feedforward": 32, "window": 3, "identities": 5, "decoder_width": 16}


def small(seed: int = 0, **changes):
    torch.manual_seed(seed)
    return create_model("aot_mini", **(SMALL | changes))


def copy_of(network) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_half_precision_halves_the_file_and_loads_into_float32(tmp_path):
    network = small(seed=1)
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_weights(network, whole)
    save_weights(network, half, half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    load_weights(again := small(seed=2), half)
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, rtol=1e-3, atol=1e-6)
    next(network.parameters()).data.fill_(1e5)
    with pytest.raises(InputError, match="holds numbers above 65504"):
        save_weights(network, half, half=True)


def test_every_listed_model_can_be_made():
    assert "aot_mini" in list_models()
    with torch.device("meta"):
        for name in list_models():
            assert not create_model(name).training


def test_settings_can_be_overridden():
    assert len(small(layers=3).lstt.blocks) == 3
    assert small().config.window == 3


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"no model 'aot_maxi'. Known models: .*aot_mini"):
        create_model("aot_maxi")


def test_names_and_weights_of_another_kind_are_refused():
    with pytest.raises(InputError, match=r"no model \['aot_mini'\]"):
        create_model(["aot_mini"])
    with pytest.raises(InputError, match="got weights=True; expected None, 'shipped', 'imagenet' or the path"):
        create_model("aot_mini", True)


def test_an_unknown_setting_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"aot_mini has no setting depth, hight. Known settings: .*heads.*window"):
        create_model("aot_mini", hight=3, depth=2, layers=1)


@pytest.mark.parametrize("name", [name for name in list_models() if has_weights(name)])
def test_every_network_wants_a_size_in_whole_pixels(name):
    for side in (0, 96.5, "96", True):
        with pytest.raises(InputError, match="got short_side=.*; expected a whole number, 1 or more or None"):
            create_model(name, short_side=side)
    assert create_model(name, short_side=None).sizing((50, 60)) is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"align_corners": 1}, "got align_corners=1; expected True or False"),
        ({"drop_path": "none"}, "got drop_path='none'; expected a number"),
        ({"drop_path": 1.5}, "drop_path=1.5 must be below 1"),
        ({"encoder": None}, "got encoder=None; expected one of tiny, mobilenet_v2"),
    ],
)
def test_settings_of_the_wrong_kind_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        small(**change)


def test_weights_can_be_read_by_whoever_can_read_other_files_of_the_folder(tmp_path):
    save_weights(create_model("aot_mini"), tmp_path / "weights.safetensors")
    (tmp_path / "note.txt").touch()
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "note.txt").stat().st_mode


def test_weights_make_the_round_trip(tmp_path):
    network = small(seed=1)
    save_weights(network, tmp_path / "a.safetensors")
    torch.save(network.state_dict(), tmp_path / "a.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "a.safetensors"]
    for path in (tmp_path / "a.safetensors", str(tmp_path / "a.pt")):
        again = create_model("aot_mini", weights=path, **SMALL)
        assert same(copy_of(again), copy_of(network)) and not again.training
    assert not same(copy_of(small(seed=2)), copy_of(network))


class Touch:
    """What a hostile pickle does: running code while it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def with_first(value: float, dtype: torch.dtype = torch.float32):
    """What puts a number at the first place of a tensor."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        changed = tensor.to(dtype, copy=True)
        changed.view(-1)[0] = value
        return changed

    return change


BROKEN = {
    "a NaN": with_first(math.nan),
    "an infinite number": with_first(-math.inf),
    "a number too large": with_first(1e300, torch.float64),
    "whole numbers": lambda weight: (1000 * weight).long(),
    "complex numbers": lambda weight: weight.to(torch.complex64),
    "a sparse tensor": lambda weight: weight.to_sparse(),
    "a meta tensor": lambda weight: weight.to("meta"),
}


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


def write_wrong(kind: str, path: Path) -> Path:
    """A weights file that should be refused; its name tells safetensors from pickle."""
    if kind.startswith("cut safetensors"):
        save_weights(small(seed=1), path := path.with_suffix(".safetensors"))
        cut(path, float(kind.split()[-1]))
    elif kind.startswith("cut pt"):
        torch.save(small(seed=1).state_dict(), path := path.with_suffix(".pt"))
        cut(path, float(kind.split()[-1]))
    elif kind.startswith("text"):
        path = path.with_suffix(kind.split()[-1])
        path.write_text("these are no weights at all\n" * 20)
    elif kind == "pickle with code":
        torch.save({"weight": torch.zeros(1), "more": Touch(path.with_name("ran"))}, path := path.with_suffix(".pt"))
    elif kind == "plain pickle with code":
        path = path.with_suffix(".pt")
        path.write_bytes(pickle.dumps(Touch(path.with_name("ran"))))
    elif kind == "no dict":
        torch.save(torch.zeros(3), path := path.with_suffix(".pt"))
    elif kind == "more than tensors":
        torch.save({"model": small().state_dict(), "step": 3}, path := path.with_suffix(".pt"))
    elif kind == "a folder":
        (path := path.with_suffix(".safetensors")).mkdir()
    elif kind == "a list":
        torch.save([torch.zeros(3)], path := path.with_suffix(".pt"))
    elif kind in BROKEN:
        weights = small(seed=1).state_dict()
        weights["project.weight"] = BROKEN[kind](weights["project.weight"])
        torch.save(weights, path := path.with_suffix(".pt"))
    elif kind == "other settings":
        save_weights(small(seed=1, layers=2), path := path.with_suffix(".safetensors"))
    elif kind == "other shapes":
        save_weights(small(seed=1, window=5), path := path.with_suffix(".safetensors"))
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "There is no weights file"),
        ("a folder", "There is no weights file"),
        ("cut safetensors 0", "corrupt or no weights file"),
        ("cut safetensors 0.01", "corrupt or no weights file"),
        ("cut safetensors 0.9", "corrupt or no weights file"),
        ("cut pt 0", "corrupt or no weights file"),
        ("cut pt 0.5", "corrupt or no weights file"),
        ("cut pt 0.99", "corrupt or no weights file"),
        ("text .safetensors", "corrupt or no weights file"),
        ("text .pt", "no weights file"),
        ("cut pt 0", r"no weights file \(EOFError\)"),
        ("pickle with code", "loading it could run code, so it was refused"),
        ("plain pickle with code", "loading it could run code, so it was refused"),
        ("no dict", "no plain state dict of tensors"),
        ("more than tensors", "no plain state dict of tensors"),
        ("a list", "holds a list, no plain state dict"),
        ("a NaN", r"project.weight holds 1 numbers that are NaN or infinite; expected finite"),
        ("an infinite number", r"project.weight holds 1 numbers that are NaN or infinite"),
        ("a number too large", r"project.weight holds 1 numbers that are NaN or infinite"),
        ("whole numbers", r"project.weight holds torch.int64; expected finite numbers of torch.float32"),
        ("complex numbers", r"project.weight holds torch.complex64"),
        ("a sparse tensor", r"project.weight is a torch.sparse_coo tensor. Save it dense"),
        ("a meta tensor", r"project.weight is a meta tensor. Save it dense"),
        ("other settings", r"of another network: it lacks 0 of the \d+ tensors expected \(none\) and has \d+ unknown"),
        ("other shapes", r"relative_value has shape .*25.*, the network expects .*9"),
    ],
)
def test_wrong_weights_are_refused_and_change_nothing(kind, reason, tmp_path):
    path = write_wrong(kind, tmp_path / "weights")
    network = small()
    before = copy_of(network)
    with pytest.raises(InputError, match=reason) as caught:
        load_weights(network, path)
    assert str(path) in str(caught.value)
    assert same(copy_of(network), before)
    assert not (tmp_path / "ran").exists()


def test_weights_of_a_parallel_network_are_understood_and_the_wrapper_is_refused_in_one_line(tmp_path):
    wrapped = torch.nn.DataParallel(small(seed=1))
    torch.save(wrapped.state_dict(), tmp_path / "a.pt")
    load_weights(network := small(seed=2), tmp_path / "a.pt")
    assert same(copy_of(network), copy_of(wrapped.module))
    for use in (lambda: load_weights(wrapped, tmp_path / "a.pt"), lambda: Tracker(wrapped)):
        with pytest.raises(InputError, match=r"got a DataParallel .*give its \.module") as caught:
            use()
        assert len(str(caught.value)) < 200


def test_a_weights_file_that_may_not_be_looked_at(tmp_path):
    for path in (tmp_path / ("long" * 99), tmp_path / "a" / "b.pt", Path(__file__) / "b.pt"):
        with pytest.raises(InputError, match="There is no weights file"):
            load_weights(small(), path)


def test_the_hostile_pickle_would_have_run(tmp_path):
    torch.load(write_wrong("pickle with code", tmp_path / "weights"), weights_only=False)
    assert (tmp_path / "ran").exists()


def test_weights_that_cannot_be_written_leave_nothing_behind(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        save_weights(small(), tmp_path / "no such folder" / "a.safetensors")
    network, old = small(), tmp_path / "old.safetensors"
    old.write_text("old")
    network.state_dict = lambda: {"bad": torch.zeros(2, device="meta")}
    with pytest.raises(Exception):  # noqa: B017, whatever safetensors makes of it
        save_weights(network, old)
    assert old.read_text() == "old" and list(tmp_path.iterdir()) == [old]


def test_weights_that_do_not_come_with_the_package_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    with pytest.raises(InputError, match=r"No trained weights come with aot_mini \(they come with: none\)"):
        create_model("aot_mini", weights="shipped")
    (tmp_path / "other.safetensors").touch()
    with pytest.raises(InputError, match="they come with: other"):
        models.read_facts("aot_mini")
    save_weights(small(seed=1), tmp_path / "aot_mini.safetensors")
    for weights in ("shipped", "mini"):  # by the new name and by the old one
        assert same(copy_of(create_model("aot_mini", weights=weights, **SMALL)), copy_of(small(seed=1)))
