"""What weights say of their footage: names without places, and the narrowest terms."""

import json
import re
from pathlib import Path

import pytest
import timm
from test_footage import write_davis
from typer.testing import CliRunner

from minivos import list_models
from minivos.cli import app
from minivos.errors import InputError
from minivos.models import has_weights, read_facts
from minivos.nn.encoders import ENCODERS, MASK_ENCODERS
from minivos.nn.swin import SWINS
from minivos.training.recipe import Recipe
from minivos.training.terms import IMAGENET, STATED, terms_of
from tiny import squares

ROOT = Path(__file__).parents[2]
RENDERED, VIDEO = Recipe(), Recipe(footage={"video": 1})
TINY = [word for field in ("batch=1", "side=32", "frames=2", "objects=1") for word in ("--set", field)]


def train(*words: object) -> tuple[int, str]:
    fixed = ["train", "--device", "cpu", "--steps", "1", "--no-score", *TINY]
    result = CliRunner().invoke(app, [*fixed, *map(str, words)])
    return result.exit_code, result.output


def terms(*words: str | None, recipe: Recipe = VIDEO, stated: str = "") -> str:
    earlier = [{"terms": word} if word else {} for word in words]
    return terms_of(recipe, ["x"] if recipe is VIDEO else [], stated=stated, earlier=earlier)["terms"]


def test_rendered_clips_are_free_and_what_nobody_stated_is_not_stated() -> None:
    assert terms_of(RENDERED, []) == {"trained_on": ["rendered clips"], "terms": "free"}
    assert terms() == "not stated"
    assert terms(stated="free") == "free" and terms(stated="non-commercial") == "non-commercial"
    assert terms(recipe=RENDERED, stated="non-commercial") == "non-commercial"
    assert terms_of(RENDERED, [], Path("album"))["terms"] == "not stated"


def test_the_narrowest_terms_of_all_that_a_training_begins_with_hold() -> None:
    for stated in ("", *STATED):
        assert terms("free", "non-commercial", recipe=RENDERED, stated=stated) == "non-commercial"
    assert terms("free", recipe=RENDERED) == "free"
    assert terms("not stated", recipe=RENDERED) == terms(None, recipe=RENDERED) == "not stated"
    assert terms("not stated", stated="free") == "free"  # whoever states it states it for all
    assert terms_of(RENDERED, [], earlier=[IMAGENET])["terms"] == "free"


def test_pretrained_encoders_are_free_by_what_timm_states() -> None:
    encoders = [*ENCODERS.values(), *MASK_ENCODERS.values(), *SWINS.values()]
    names = {encoder.timm_name for encoder in encoders if hasattr(encoder, "timm_name")}
    assert len(names) > 5 and {timm.get_pretrained_cfg(name).license for name in names} == {"apache-2.0", "mit"}


def test_terms_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="got terms 'gratis'; expected free or non-commercial"):
        terms(stated="gratis")
    with pytest.raises(InputError, match="JSON has the terms 'mine'"):
        terms("mine")


def test_sources_have_their_kind_and_no_place() -> None:
    mix = Recipe(footage={"synthetic": 0.5, "video": 0.25, "cutouts": 0.25})
    folders = {"video": ["/elsewhere/DAVIS:fit"], "cutouts": ["/elsewhere/stamps/"]}
    facts = terms_of(mix, folders, Path("/elsewhere/album"), "free", [IMAGENET, {}])
    assert facts["trained_on"] == [
        "rendered clips", "DAVIS:fit (video)", "stamps (cutouts)", "album (photos)", "ImageNet (encoder)",
        "weights of unknown origin",
    ]  # fmt: skip


def test_a_mark_follows_the_weights_through_trainings_and_files(tmp_path: Path) -> None:
    root = write_davis(tmp_path / "davis", {"a": squares(0, 3)}, {"b": squares(1, 3)})
    marked = ("--footage", "video", "--data", root, "--terms", "non-commercial")
    first, second = tmp_path / "first", tmp_path / "second"
    status, printed = train("--out", first, *marked)
    assert status == 0, printed
    weights = first / "aot_mini.safetensors"
    status, printed = train("--out", second, "--start", weights, "--terms", "free")
    assert status == 0, printed
    facts = json.loads((second / "aot_mini.json").read_text())
    assert facts["terms"] == "non-commercial"
    assert facts["trained_on"] == ["rendered clips", "davis (video)"]
    for out in (first, second):
        assert str(tmp_path) not in (out / "aot_mini.json").read_text()


def test_a_run_that_goes_on_otherwise_keeps_its_mark(tmp_path: Path) -> None:
    root = write_davis(tmp_path / "davis", {"a": squares(0, 3)}, {"b": squares(1, 3)})
    own = ("--footage", "video", "--data", root, "--out", tmp_path / "out")
    for words in (("--terms", "non-commercial"), ("--terms", "free", "--steps", 2)):
        status, printed = train(*own, *words)
        assert status == 0, printed
    facts = json.loads((tmp_path / "out/aot_mini.json").read_text())
    assert (facts["steps"], facts["terms"]) == (2, "non-commercial")


def test_words_that_are_no_terms_are_refused_before_the_work(tmp_path: Path) -> None:
    status, printed = train("--out", tmp_path / "out", "--terms", "gratis")
    assert status == 2 and "got terms 'gratis'" in printed and not (tmp_path / "out").exists()


def test_all_shipped_weights_are_marked_where_one_meets_them() -> None:
    listed = CliRunner().invoke(app, ["models"]).output
    readme, card = ((ROOT / name).read_text() for name in ("README.md", "docs/weights.md"))
    bound = []
    for name in filter(has_weights, list_models()):
        facts = read_facts(name)
        said, sources = facts["terms"], ", ".join(facts["trained_on"])
        assert said in STATED and re.search(
            rf"^{name} .*\n.*\n +{said}; trained on {re.escape(sources)}$", listed, re.M
        )
        assert f"| `{name}` | {sources} | {said} |" in card
        bound += [f"`{name}`"] * (said != "free")
    assert f"Shipped weights for non-commercial use only: {', '.join(bound) or 'none'}." in readme
