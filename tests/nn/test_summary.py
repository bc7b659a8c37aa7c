"""Each paper's file, run, shows its network."""

import subprocess
import sys

import pytest
import torch

import minivos
from minivos.nn.summary import find_tensors


@pytest.mark.parametrize(
    ("paper", "parameters", "shapes"),
    [
        ("aot", "AOT with 991,875 parameters", ["seen.tokens", "(1, 864, 96)", "entry.assignment"]),
        ("sst", "SST with 682,897 parameters", ["seen.cells", "(1, 24, 36, 96)", "entry.labels"]),
        ("sitvos", "SITVOS with 772,114 parameters", ["entry.marks", "(1, 2, 64, 24, 36)"]),
        ("hst", "HST with 936,610 parameters", ["seen.values[3]", "(1, 64, 8, 12)", "entry.masks"]),
    ],
)
def test_a_paper_s_file_prints_its_shapes(paper, parameters, shapes):
    run = subprocess.run([sys.executable, "-m", f"minivos.{paper}"], capture_output=True, text=True, check=True)
    assert not run.stderr  # such as a warning that the module was loaded before
    assert parameters in run.stdout and all(shape in run.stdout for shape in [*shapes, "logits"])


def test_tensors_are_found_wherever_they_are_nested():
    nested = {"a": [torch.zeros(1), (torch.zeros(2), 3)], "b": torch.zeros(3)}
    assert [(path, len(tensor)) for path, tensor in find_tensors(nested)] == [("a[0]", 1), ("a[1][0]", 2), ("b", 3)]


def test_public_names_are_there_and_others_are_not():
    assert all(getattr(minivos, name) and name in dir(minivos) for name in minivos.__all__)
    with pytest.raises(AttributeError, match="minivos has no 'Tracer'; it has Clip"):
        minivos.Tracer  # noqa: B018
