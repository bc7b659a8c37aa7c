"""Half precision, compiled parts, room: the same answers, and one clear line where it cannot be."""

import pytest
import torch

from minivos.errors import InputError
from minivos.propagation import propagate
from minivos.speed import HEAVY, at_precision, check_room, compile_parts
from minivos.tracker import Tracker
from minivos.video.clip import Clip
from tiny import squares, tiny_aot

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


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_masks() -> None:
    pictures, labels = squares(frames=4)
    clip = Clip(pictures, {0: labels[0]})
    found = propagate(tiny_aot(), clip)
    assert (propagate(tiny_aot(), clip, compiled=True) == found).mean() > 0.999


def test_frames_that_no_memory_holds_are_refused() -> None:
    check_room((480, 854), CPU)
    with pytest.raises(InputError, match=r"frames of 1000000x500000 pixels need 35,\d+ GiB of memory or more, and cpu"):
        check_room((500_000, 1_000_000), CPU)
