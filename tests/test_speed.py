"""Half precision, compiled parts, room: the same answers, and one clear line where it cannot be."""

import pytest
import torch
from einops import einsum

from minivos import create_model, list_models
from minivos.errors import InputError
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Sizing
from minivos.propagation import propagate
from minivos.speed import HEAVY, at_precision, check_room, compile_parts, side_for, training_at
from minivos.synthetic.clips import render
from minivos.tracker import Tracker
from minivos.video.clip import Clip
from tiny import EveryFrameCounts, clip_of, filled_memory, squares, tiny_aot

CPU = torch.device("cpu")


def test_precision_is_that_of_the_context() -> None:
    weights = torch.ones(4, 4)
    for precision, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with at_precision(precision, CPU):
            assert (weights @ weights).dtype == kind
    with torch.autocast("cpu"), at_precision("float32", CPU):  # what others have chosen stays
        assert (weights @ weights).dtype == torch.bfloat16
    with pytest.raises(InputError, match="got precision=16; expected float32 or bfloat16"):
        at_precision(16, CPU)
    with pytest.raises(InputError, match="got precision='float16'"), training_at("float16", tiny_aot(), CPU):
        pass


@pytest.mark.parametrize(("encoder", "halved"), [("tiny", {"encoder", "decoder"}), ("efficientnet_lite0", {"decoder"})])
def test_training_on_a_cpu_computes_dense_convolutions_in_bfloat16(encoder: str, halved: set[str]) -> None:
    network, inside, outside = tiny_aot(encoder=encoder), {}, {}
    layers = {"encoder": network.encoder.get_submodule("stages.0.0" if encoder == "tiny" else "body.conv_stem")}
    layers |= {"decoder": network.decoder.conv_out, "lstt": network.lstt.blocks[0].match}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda _, __, made, name=name: inside.update({name: made.dtype}))
    network.decoder.register_forward_hook(lambda _, __, made: outside.update(decoder=made.dtype))
    frames, masks = clip_of(2)
    with training_at("bfloat16", network, CPU):
        network.read(network.encode(frames[:, 2]), filled_memory(network, frames[:, :2], masks))
    assert {name for name, kind in inside.items() if kind == torch.bfloat16} == halved
    assert set(inside) == set(layers) and outside["decoder"] == torch.float32
    network.encode(frames[:, 0])
    assert inside["encoder"] == torch.float32  # the network is as it was


def test_only_encoders_and_decoders_are_compiled_and_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    network, compiled = tiny_aot(), []
    names = list(network.state_dict())
    monkeypatch.setattr(torch, "compile", lambda program, **_: compiled.append(program) or program)
    compile_parts(network)
    assert [name for name in HEAVY if getattr(getattr(network, name, None), "_compiled_call_impl", None)] == [
        "encoder",
        "decoder",
    ]
    assert list(network.state_dict()) == names and len(compiled) == 3
    compile_parts(network)
    assert len(compiled) == 3  # nothing is compiled twice


def test_without_a_compiler_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise RuntimeError("InvalidCxxCompiler: no working C++ compiler found\nand much more")

    monkeypatch.setattr(torch, "compile", missing)
    with pytest.raises(InputError, match=r"compiling does not work here \(.*compiler found\); install a C\+\+") as told:
        Tracker(tiny_aot(), compiled=True)
    assert "\n" not in str(told.value)


class Colours(EveryFrameCounts):
    """Two layers, and each pixel takes the label of the colour nearest to its own: quick to compile."""

    def __init__(self) -> None:
        super().__init__(5, Schedule())
        torch.manual_seed(0)
        self.encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.ReLU())

    def encode(self, frame: torch.Tensor) -> torch.Tensor:
        return self.encoder(super().encode(frame))

    def read(self, seen: torch.Tensor, memory: Memory) -> tuple[torch.Tensor, torch.Tensor]:
        entry = memory.kept[0]
        means = einsum(entry.masks, entry.features, "b k y x, b c y x -> k c")
        means = means / entry.masks.sum(dim=(0, 2, 3))[:, None]
        return -((seen[:, None] - means[None, :, :, None, None]) ** 2).sum(dim=2), seen

    def memorize(self, seen: torch.Tensor, masks: torch.Tensor) -> Entry:
        entry = super().memorize(seen, masks)
        entry.features = seen
        return entry


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_masks() -> None:
    pictures, labels = squares(frames=4)
    clip = Clip(pictures, {0: labels[0]})
    found = propagate(Colours(), clip)
    assert (found[3] == labels[3]).mean() > 0.9
    network = Colours()
    assert (propagate(network, clip, compiled=True) == found).mean() > 0.999
    assert network.encoder._compiled_call_impl is not None


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in list_models() if name.endswith("_mini")])
def test_compiled_networks_give_the_same_masks(name: str) -> None:
    rendered = render(0, frames=4, size=(64, 96))
    clip = Clip(rendered.frames, {0: rendered.masks[0]})
    found = propagate(create_model(name, "shipped"), clip)
    assert (propagate(create_model(name, "shipped"), clip, compiled=True) == found).mean() > 0.999


def test_frames_that_no_memory_holds_are_refused() -> None:
    check_room((480, 854), CPU)
    with pytest.raises(InputError, match=r"frames of 1000000x500000 pixels need 35,\d+ GiB of memory or more, and cpu"):
        check_room((500_000, 1_000_000), CPU)


@pytest.mark.parametrize(
    ("own", "size", "given", "side"),
    [
        (None, (720, 1280), None, 480),
        (None, (240, 320), None, None),
        (192, (720, 1280), None, None),
        (192, (720, 1280), 96, 96),
    ],
)
def test_a_network_without_a_side_of_its_own_sees_480_pixels_at_most(own, size, given, side):
    network = tiny_aot()
    network.sizing = Sizing(stride=16, short_side=own)
    assert side_for(network, size, given) == side
