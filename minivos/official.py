"""Released checkpoints -> networks: published weights, under the names of their authors' code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from minivos.aot import AOT
from minivos.errors import InputError
from minivos.models import create_model, load_tensors, only_tensors, pick_device, read_file
from minivos.nn.network import VOSNetwork
from minivos.sitvos import SITVOS

Rule = tuple[str, str | Callable[[re.Match[str]], str]]

# Pattern of a released key -> our key. A later rule sees what the earlier ones made of a key.
AOT_RULES = (
    (r"^encoder_projector\.", "project."),
    (r"^patch_wise_id_bank\.", "identity_bank.embed."),
    (r"^LSTT\.decoder_norms\.", "lstt.norms."),
    (r"^LSTT\.layers\.", "lstt.blocks."),
    (r"\.self_attn\.linear_Q\.", ".self_attention.query."),
    (r"\.self_attn\.linear_K\.", ".self_attention.key."),
    (r"\.self_attn\.linear_V\.", ".self_attention.value."),
    (r"\.self_attn\.projection\.", ".self_attention.project."),
    (r"\.linear_Q\.", ".match."),
    (r"\.linear_V\.", ".value."),
    (r"\.(long|short)_term_attn\.projection\.", r".\1_term.project."),
    (r"\.short_term_attn\.relative_emb_k\.", ".short_term.relative_score."),
    (r"\.short_term_attn\.relative_emb_v$", ".short_term.relative_value"),
    (r"\.linear1\.", ".feed_forward.expand."),
    (r"\.activation\.gn\.", ".feed_forward.norm."),
    (r"\.activation\.conv\.", ".feed_forward.mix."),
    (r"\.linear2\.", ".feed_forward.shrink."),
    (r"^decoder\.conv_in\.gn\.", "decoder.conv_in.norm."),
    (r"^decoder\.(conv|adapter)_16x\.", r"decoder.\1_coarse."),
    (r"^decoder\.(conv|adapter)_8x\.", r"decoder.\1_middle."),
    (r"^decoder\.(conv|adapter)_4x\.", r"decoder.\1_fine."),
    (r"^decoder\.(\w+)\.gn\.", r"decoder.\1.norm."),
)
RESNET = ((r"^encoder\.(?=conv1|bn1|layer)", "encoder.body."),)
SWIN = (
    (r"^encoder\.norm(\d)\.", r"encoder.norms.\1."),
    # timm shrinks where the next stage begins
    (r"^encoder\.layers\.0\.downsample\.", "encoder.body.layers.1.downsample."),
    (r"^encoder\.layers\.1\.downsample\.", "encoder.body.layers.2.downsample."),
    (r"^encoder\.(?=patch_embed|layers)", "encoder.body."),
)
AOT_UNUSED = r"^LSTT\.mask_token$|\.num_batches_tracked$|\.relative_position_index$|\.attn_mask$"


def _mobilenet() -> tuple[Rule, ...]:
    """From torchvision's names, which count the blocks, to timm's, which count them by stage."""
    rules = [
        (r"^encoder\.features\.0\.0\.", "encoder.body.conv_stem."),
        (r"^encoder\.features\.0\.1\.", "encoder.body.bn1."),
        (r"^encoder\.features\.18\.0\.", "encoder.body.conv_head."),
        (r"^encoder\.features\.18\.1\.", "encoder.body.bn2."),
    ]
    first = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}  # it does not expand
    others = {
        "0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"
    }  # fmt: skip
    number = 1
    for stage, blocks in enumerate((1, 2, 3, 4, 3, 3, 1)):
        for block in range(blocks):
            theirs = rf"^encoder\.features\.{number}\.conv\."
            ours = f"encoder.body.blocks.{stage}.{block}."
            parts = first if number == 1 else others
            rules += [
                (theirs + re.escape(part) + r"\.(?=[a-z])", f"{ours}{name}.")
                for part, name in parts.items()
            ]
            number += 1
    return tuple(rules)


ENCODER_RULES = {"mobilenet_v2": _mobilenet(), "resnet50": RESNET, "swin_b": SWIN}

SITVOS_RULES: tuple[Rule, ...] = (
    (r"^Encoder\.res(\d)\.", lambda stage: f"encoder.body.layer{int(stage[1]) - 1}."),
    (r"^Encoder\.", "encoder.body."),
    (r"^Encoder_mask\.conv1_m\.", "mask_encoder.body.conv1."),
    (r"^Encoder_mask\.res(\d)\.", lambda stage: f"mask_encoder.body.layer{int(stage[1]) - 1}."),
    (r"^Encoder_mask\.", "mask_encoder.body."),
    (r"^W_K\.", "embed_memory."),
    (r"^W_Q\.", "embed_query."),
    (r"^W_mask\.", "embed_mask."),
    (r"^Memory\.self_atten_T\.layer_norm\.", "transformer.memory_self.norm."),
    (r"^Memory\.self_atten_C\.layer_norm\.", "transformer.query_self.norm."),
    (r"^Memory\.layer_norm\.", "transformer.interaction.norms.0."),
    (r"^Memory\.self_atten_T\.", "transformer.memory_self.attention."),
    (r"^Memory\.self_atten_C\.", "transformer.query_self.attention."),
    (r"^Memory\.cross_atten1\.", "transformer.interaction.to_memory."),
    (r"^Memory\.cross_atten2\.", "transformer.interaction.to_query."),
    (r"^Memory\.cross_atten3\.", "transformer.last_read."),
    (r"^Memory\.projector\.", "transformer.project."),
    (r"\.w_q\.", ".query."),
    (r"\.w_k\.", ".key."),
    (r"\.w_v\.", ".value."),
    (r"^Decoder\.convFM\.", "decoder.adapt."),
    (r"^Decoder\.ResMM\.", "decoder.merged."),
    (r"^Decoder\.RF3\.", "decoder.steps.0."),
    (r"^Decoder\.RF2\.", "decoder.steps.1."),
    (r"\.convFS\.", ".adapt."),
    (r"\.ResFS\.", ".image."),
    (r"\.ResMM\.", ".merged."),
    (r"^Decoder\.pred2\.", "decoder.predict."),
)
SITVOS_UNUSED = r"^Encoder\.(mean|std)$|\.num_batches_tracked$"  # ImageNet's mean is in our code


def open_network(
    name: str, weights: str | Path = "shipped", released: Path | None = None, device: str = "auto"
) -> VOSNetwork:
    """A network on its device, with `weights` or, if given, those of a released checkpoint.

    Raises InputError as `create_model`, `load_official` and `pick_device`.
    """
    network = create_model(name, None if released else weights)
    if released:
        load_official(network, released)
    return network.to(pick_device(device))


def load_official(model: VOSNetwork, source: str | Path | Mapping[str, Tensor]) -> VOSNetwork:
    """Load a released checkpoint into a network of the same variant, and return the network.

    `source` is the path of a `.pth` file, or the state dict itself; one that lies under
    "state_dict" or "model", and names that begin with "module.", are understood. Knows the
    checkpoints of AOT (aot_t to swinb_aot_l) and of SITVOS (sitvos). Raises InputError when the
    file is missing, corrupt or holds more than tensors, and for a checkpoint of another variant;
    the network is left unchanged then.
    """
    rules: tuple[Rule, ...]
    if isinstance(model, AOT) and model.config.encoder in ENCODER_RULES:
        rules, unused = (*AOT_RULES, *ENCODER_RULES[model.config.encoder]), AOT_UNUSED
    elif isinstance(model, SITVOS) and model.config.encoder == "resnet50":
        rules, unused = SITVOS_RULES, SITVOS_UNUSED
    else:
        raise InputError(
            f"There is no released checkpoint for this {type(model).__name__}; there are some for "
            "aot_t, aot_s, aot_b, aot_l, r50_aot_l, swinb_aot_l and sitvos."
        )
    if not isinstance(source, str | Path | Mapping):
        raise InputError(
            f"got a {type(source).__name__}; expected the path of a checkpoint, or its state dict"
        )
    name = "the state dict" if isinstance(source, Mapping) else str(source)
    content = source if isinstance(source, Mapping) else read_file(Path(source))
    renamed = {}
    for key, value in only_tensors(_unwrapped(content), name).items():
        key = key.removeprefix("module.")
        if not re.search(unused, key):
            for pattern, ours in rules:
                key = re.sub(pattern, ours, key)
            linear = key == "transformer.project.weight" and value.dim() == 4  # a 1x1 convolution
            renamed[key] = value.flatten(1) if linear else value
    load_tensors(model, renamed, name)
    return model


def _unwrapped(content: object) -> object:
    """The state dict inside a training checkpoint; anything else as it is."""
    if isinstance(content, Mapping):
        for name in ("state_dict", "model"):
            if isinstance(content.get(name), Mapping):
                return content[name]
    return content
