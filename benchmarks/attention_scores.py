"""How much of aot_mini's attention lands on the right object and near the true point, long-term against short-term.

    python benchmarks/attention_scores.py

Two clips of every scenario, which the network has not been trained on, and those of the occlusion scenario alone, where
an object is gone from the previous frame but not from the kept ones (AOT Fig. 7). "Chance" is what equal weights on all
cells that a query sees would score.
"""

from tqdm import tqdm

from minivos import create_model
from minivos.synthetic.clips import SAMPLE_SIZE, SCENARIOS, SyntheticClip, render
from minivos.viewing.attention_scores import score_table

SEEDS, FRAMES = (0, 1), 8


def clips(scenarios: tuple[str, ...]) -> list[SyntheticClip]:
    """One clip for each seed and scenario."""
    return [render(seed, frames=FRAMES, size=SAMPLE_SIZE, scenario=name) for name in scenarios for seed in SEEDS]


if __name__ == "__main__":
    network = create_model("aot_mini", weights="mini")
    print(f"aot_mini, shipped weights; seeds {SEEDS}, {FRAMES} frames of {SAMPLE_SIZE[0]} x {SAMPLE_SIZE[1]} pixels")
    for scenarios in (SCENARIOS, ("occlusion_reentry",)):
        table = score_table(network, tqdm(clips(scenarios), unit="clip", disable=None))
        print(f"\n{', '.join(scenarios)}\n{table}")
