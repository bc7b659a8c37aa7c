"""The mean of two weights, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from minivos.errors import InputError
from minivos.models import create_model, save_weights
from minivos.training.blend import blend
from test_cli import run


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """Two weights of sst_mini, the first trained on footage that leaves them non-commercial."""
    for seed, name in enumerate(("learned", "known")):
        torch.manual_seed(seed)
        (tmp_path / name).mkdir()
        save_weights(create_model("sst_mini"), tmp_path / name / "sst_mini.safetensors")
    facts = {"model": "sst_mini", "trained_on": ["davis (video)"], "terms": "non-commercial", "minutes": 3}
    (tmp_path / "learned/sst_mini.json").write_text(json.dumps(facts | {"scores": {}, "log": [{"step": 0}]}))
    (tmp_path / "known/sst_mini.json").write_text(json.dumps({"trained_on": ["rendered clips"], "terms": "free"}))
    return str(tmp_path / "learned/sst_mini.safetensors"), str(tmp_path / "known/sst_mini.safetensors")


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_every_weight_is_the_mean_of_both(pair: tuple[str, str], share: float, tmp_path: Path) -> None:
    mean = create_model("sst_mini", blend("sst_mini", *pair, share, tmp_path / "out")).state_dict()
    learned, known = (create_model("sst_mini", each).state_dict() for each in pair)
    for key, value in mean.items():
        assert torch.allclose(value, (1 - share) * learned[key] + share * known[key], atol=1e-6), key


def test_the_json_tells_of_both_and_the_narrowest_terms_hold(pair: tuple[str, str], tmp_path: Path) -> None:
    status, printed = run("blend", *pair, "--share", 0.25, "--out", tmp_path / "out")
    assert status == 0 and "75% of" in printed, printed
    facts = json.loads((tmp_path / "out/sst_mini.json").read_text())
    assert facts["terms"] == "non-commercial" and facts["trained_on"] == ["davis (video)", "rendered clips"]
    assert facts["mixed in"]["share"] == 0.25 and facts["mixed in"]["terms"] == "free"
    assert facts["minutes"] == 3 and "scores" not in facts and list(facts)[-1] == "log"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--share", "1.5"], "got a share of 1.5; expected 0 to 1"),
        (["--model", "hst_mini"], "is of another network"),
        (["--model", "nonsense"], "nonsense"),
        (["--out", "{learned}"], "expected another folder"),
    ],
)
def test_what_cannot_be_mixed_is_refused_and_nothing_written(
    pair: tuple[str, str], words: list[str], message: str, tmp_path: Path
) -> None:
    before = Path(pair[0]).read_bytes()
    words = [word.format(learned=Path(pair[0]).parent) for word in words]
    status, printed = run("blend", *pair, "--out", tmp_path / "out", *words)
    assert status == 2 and message in printed, printed
    assert not (tmp_path / "out").exists() and Path(pair[0]).read_bytes() == before


def test_without_a_json_the_network_must_be_named(pair: tuple[str, str], tmp_path: Path) -> None:
    for each in pair:
        Path(each).with_suffix(".json").unlink()
    status, printed = run("blend", *pair, "--out", tmp_path / "out")
    assert status == 2 and "expected --model NAME" in printed
    status, printed = run("blend", *pair, "--out", tmp_path / "out", "--model", "sst_mini")
    facts = json.loads((tmp_path / "out/sst_mini.json").read_text())
    assert status == 0 and facts["terms"] == "not stated" and facts["trained_on"] == ["weights of unknown origin"]
    with pytest.raises(InputError, match="There is no weights file"):
        blend("sst_mini", tmp_path / "missing.safetensors", "shipped", 0.5, tmp_path / "other")
