"""Draw the networks: `python docs/diagrams.py` writes docs/diagrams/*.svg, one file for light and dark pages.

A diagram is a list of boxes, arrows and loose labels. Five kinds of box: layers, attention, memory, tokens (any
data without a picture), and frames or masks, whose little picture has the colours that objects have everywhere.
"""

from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from PIL import ImageFont

from minivos.video.masks import OKABE_ITO

FOLDER = Path(__file__).parent / "diagrams"
WIDTH = 900
NAME, WORD = 13, 12  # font sizes, px
LINE = 16  # from one line of text to the next, px
PICTURE = 30  # side of a little picture, px
FIRST, SECOND = ("#{:02x}{:02x}{:02x}".format(*OKABE_ITO[k]) for k in (1, 2))
STYLE = """
.page{fill:#ffffff} text{fill:#1f2328} .line{stroke:#57606a;fill:none;stroke-width:1.6} .tip{fill:#57606a}
.layers{fill:#eceff2;stroke:#8c959f} .attention{fill:#fbe9f2;stroke:#b0588a} .memory{fill:#e3f0f9;stroke:#0072b2}
.tokens,.frame,.masks,.sum{fill:#ffffff;stroke:#57606a} .memory{stroke-dasharray:5 3} .dim{fill:#b6bec6}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117} text{fill:#e6edf3} .line{stroke:#9ea7b1} .tip{fill:#9ea7b1}
.layers{fill:#262c36;stroke:#6e7681} .attention{fill:#40243a;stroke:#d68fb8} .memory{fill:#10304a;stroke:#56b4e9}
.tokens,.frame,.masks,.sum{fill:#161b22;stroke:#9ea7b1} .dim{fill:#565f69}}
""".strip()


@dataclass(frozen=True)
class Box:
    """Its first line, the name, is bold; `names` are those of the package that it speaks of."""

    x: int
    y: int
    w: int
    h: int
    kind: str
    lines: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arrow:
    """A path through points; an open one has no tip."""

    points: tuple[tuple[int, int], ...]
    tip: bool = True


@dataclass(frozen=True)
class Text:
    """A line of text, its middle at x and its baseline at y."""

    x: float
    y: float
    text: str
    size: int = WORD
    bold: bool = False

    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, in a font wider than those of most browsers."""
        half = font(self.size, self.bold).getlength(self.text) / 2
        return self.x - half, self.y - 0.8 * self.size, self.x + half, self.y + 0.25 * self.size


@dataclass(frozen=True)
class Diagram:
    """A drawing and what it says, for those who do not see it."""

    says: str
    height: int
    parts: tuple[Box | Arrow | Text, ...]

    def boxes(self) -> list[Box]:
        return [part for part in self.parts if isinstance(part, Box)]

    def arrows(self) -> list[Arrow]:
        return [part for part in self.parts if isinstance(part, Arrow)]

    def texts(self) -> list[tuple[Text, Box | None]]:
        """All texts, each with the box that it must not leave."""
        loose: list[tuple[Text, Box | None]] = [(part, None) for part in self.parts if isinstance(part, Text)]
        return loose + [(text, box) for box in self.boxes() for text in texts_of(box)]


@cache
def font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings."""
    from matplotlib import get_data_path

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf", size)


def has_picture(box: Box) -> bool:
    return box.kind in ("frame", "masks")


def texts_of(box: Box) -> list[Text]:
    """The lines of a box, around its middle; under its little picture if it has one."""
    if box.kind == "sum":
        return [Text(box.x + box.w / 2, box.y + box.h / 2 + 4.5, line, NAME, True) for line in box.lines]
    tall = LINE * len(box.lines) + (PICTURE + 4 if has_picture(box) else 0)
    top = box.y + (box.h - tall) / 2 + (PICTURE + 4 if has_picture(box) else 0)
    return [
        Text(box.x + box.w / 2, top + LINE * i + 12, line, WORD if i else NAME, i == 0)
        for i, line in enumerate(box.lines)
    ]


def rounded(box: Box) -> str:
    radius = box.h / 2 if box.kind == "sum" else 6
    return (
        f'<rect class="{box.kind}" x="{box.x}" y="{box.y}" width="{box.w}" height="{box.h}" rx="{radius:g}" '
        'stroke-width="1.4"/>'
    )


def little_picture(box: Box) -> str:
    """A frame with two objects: grey, or in their colours."""
    x = box.x + (box.w - 1.6 * PICTURE) / 2
    y = box.y + (box.h - LINE * len(box.lines) - PICTURE - 4) / 2
    one, two = (f'fill="{FIRST}"', f'fill="{SECOND}"') if box.kind == "masks" else ('class="dim"', 'class="dim"')
    return (
        f'<rect class="frame" x="{x:g}" y="{y:g}" width="{1.6 * PICTURE:g}" height="{PICTURE}" stroke-width="1"/>'
        f'<circle {one} cx="{x + 15:g}" cy="{y + 17:g}" r="8"/>'
        f'<rect {two} x="{x + 27:g}" y="{y + 6:g}" width="14" height="12" rx="3"/>'
    )


def path(arrow: Arrow) -> str:
    steps = " ".join(f"{'L' if i else 'M'}{x} {y}" for i, (x, y) in enumerate(arrow.points))
    return f'<path class="line" d="{steps}"{" marker-end=" + chr(34) + "url(#tip)" + chr(34) if arrow.tip else ""}/>'


def written(text: Text) -> str:
    weight = ' font-weight="600"' if text.bold else ""
    return (
        f'<text x="{text.x:g}" y="{text.y:g}" font-size="{text.size}" text-anchor="middle"{weight}>'
        f"{escape(text.text)}</text>"
    )


def svg(diagram: Diagram) -> str:
    """A diagram as an SVG file, which follows the colours of the page that shows it."""
    parts = [f"<title>{escape(diagram.says)}</title>", f"<style>{STYLE}</style>"]
    parts += [
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
        'markerUnits="userSpaceOnUse" orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>',
        f'<rect class="page" width="{WIDTH}" height="{diagram.height}" rx="8"/>',
    ]
    for box in diagram.boxes():
        parts += [rounded(box)] + [little_picture(box)] * has_picture(box)
    parts += map(path, diagram.arrows())
    parts += [written(text) for text, _ in diagram.texts()]
    fonts = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
    frame = f'viewBox="0 0 {WIDTH} {diagram.height}" width="{WIDTH}" height="{diagram.height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {frame} role="img" font-family="{fonts}">'
    return "\n".join([head, *parts, "</svg>\n"])


def key(y: int) -> tuple[Box | Text, ...]:
    """What the kinds of box mean."""
    kinds = ("layers", "layers"), ("attention", "attention"), ("memory", "memory"), ("tokens", "tokens")
    parts: list[Box | Text] = []
    for i, (kind, word) in enumerate(kinds):
        x = 240 + 120 * i
        parts += [Box(x, y, 22, 14, kind, ()), Text(x + 28 + font(WORD, False).getlength(word) / 2, y + 12, word)]
    return tuple(parts)


VERBS = Diagram(
    "The three verbs: encode makes seen of a frame; read makes masks of seen and of the memory; memorize makes an "
    "entry of seen and masks, which the memory keeps.",
    330,
    (
        Box(15, 40, 120, 84, "frame", ("frame t", "(B, 3, H, W)")),
        Box(175, 52, 110, 60, "layers", ("encode", "frame → seen"), ("encode",)),
        Box(325, 52, 130, 60, "tokens", ("seen", "of this frame"), ("seen",)),
        Box(495, 52, 150, 60, "attention", ("read", "seen, memory → logits"), ("read",)),
        Box(740, 40, 145, 84, "masks", ("masks", "(B, 1+K, H, W)")),
        Box(480, 190, 180, 66, "memory", ("memory", "entries of past frames,", "kept by the schedule"), ("memory",)),
        Box(740, 193, 145, 60, "layers", ("memorize", "seen, masks → entry"), ("memorize",)),
        Arrow(((135, 82), (175, 82))),
        Arrow(((285, 82), (325, 82))),
        Arrow(((455, 82), (495, 82))),
        Arrow(((645, 82), (740, 82))),
        Arrow(((812, 124), (812, 193))),
        Arrow(((740, 223), (660, 223))),
        Arrow(((570, 190), (570, 112))),
        Arrow(((390, 112), (390, 276), (812, 276), (812, 253))),
        *key(302),
    ),
)

AOT = Diagram(
    "AOT: a frame becomes tokens; the LSTT lets them read the memory, whose values carry identities; the decoder "
    "scores identities, and P turns them into masks. The IdentityBank makes identities of the masks for the memory.",
    340,
    (
        Box(15, 40, 95, 84, "frame", ("frame t", "(B, 3, H, W)")),
        Box(135, 52, 110, 60, "layers", ("encoder", "and project"), ("encoder", "project")),
        Box(270, 52, 100, 60, "tokens", ("tokens", "(B, N, C)")),
        Box(
            405,
            40,
            200,
            84,
            "attention",
            ("LSTT", "L blocks: read themselves,", "kept frames, previous frame"),
            ("LSTT",),
        ),
        Box(635, 52, 115, 60, "layers", ("FPNDecoder", "(B, 1+M, H, W)"), ("FPNDecoder",)),
        Box(780, 40, 108, 84, "masks", ("masks", "(B, 1+K, H, W)")),
        Text(745, 146, "P: identities → objects, Eq. 5"),
        Box(
            665,
            190,
            223,
            66,
            "layers",
            ("IdentityBank", "Eq. 3: objects → identities by P,", "patch by patch: E (B, N, C)"),
            ("IdentityBank",),
        ),
        Box(435, 190, 195, 66, "layers", ("values_of", "Eq. 4: content + E,", "projected: (B, N, C)"), ("values_of",)),
        Box(205, 190, 195, 66, "memory", ("memory", "keys (B, T·N, C)", "values (B, T·N, C)")),
        Arrow(((110, 82), (135, 82))),
        Arrow(((245, 82), (270, 82))),
        Arrow(((370, 82), (405, 82))),
        Arrow(((605, 82), (635, 82))),
        Arrow(((750, 82), (780, 82))),
        Arrow(((870, 124), (870, 190))),
        Arrow(((665, 223), (630, 223))),
        Arrow(((435, 223), (400, 223))),
        Arrow(((550, 124), (550, 190))),
        Text(583, 162, "content"),
        Arrow(((302, 190), (302, 156), (440, 156), (440, 124))),
        *key(310),
    ),
)

LSTT = Diagram(
    "One LSTTBlock: three branches leave the tokens and are added to them again: self-attention, the sum of long-term "
    "and short-term attention, and the feed-forward part. A norm stands before each branch.",
    390,
    (
        Box(8, 26, 84, 48, "tokens", ("tokens", "(B, N, C)")),
        Box(243, 41, 18, 18, "sum", ("+",)),
        Box(599, 41, 18, 18, "sum", ("+",)),
        Box(777, 41, 18, 18, "sum", ("+",)),
        Box(810, 26, 84, 48, "tokens", ("tokens", "(B, N, C)")),
        Arrow(((92, 50), (243, 50))),
        Arrow(((261, 50), (599, 50))),
        Arrow(((617, 50), (777, 50))),
        Arrow(((795, 50), (810, 50))),
        Arrow(((104, 50), (104, 115), (118, 115))),
        Box(118, 98, 112, 34, "layers", ("norm1",), ("norm1",)),
        Arrow(((174, 132), (174, 165))),
        Box(112, 165, 124, 66, "attention", ("SelfAttention", "all cells of", "this frame"), ("SelfAttention",)),
        Arrow(((236, 198), (252, 198), (252, 59))),
        Box(112, 270, 124, 40, "tokens", ("sine_position",), ("sine_position",)),
        Arrow(((174, 270), (174, 231))),
        Arrow(((273, 50), (273, 115), (296, 115))),
        Box(296, 90, 190, 50, "layers", ("norm2, match", "q (B, N, C)"), ("norm2", "match")),
        Arrow(((311, 140), (311, 198), (332, 198))),
        Arrow(((311, 198), (311, 290), (332, 290))),
        Box(332, 160, 254, 76, "attention", (), ()),
        Text(410, 192, "LongTerm", NAME, True),
        Text(410, 208, "Attention", NAME, True),
        Text(410, 225, "Eq. 6"),
        Box(478, 168, 100, 60, "memory", ("kept", "all cells:", "(B, T·N, C)"), ("kept",)),
        Box(332, 252, 254, 76, "attention", (), ()),
        Text(410, 284, "ShortTerm", NAME, True),
        Text(410, 300, "Attention", NAME, True),
        Text(410, 317, "Eq. 7"),
        Box(478, 260, 100, 60, "memory", ("previous", "a window:", "(B, N, C)"), ("previous",)),
        Arrow(((586, 198), (608, 198), (608, 59))),
        Arrow(((586, 290), (608, 290), (608, 198)), tip=False),
        Arrow(((630, 50), (630, 115), (648, 115))),
        Box(648, 98, 120, 34, "layers", ("norm3",), ("norm3",)),
        Arrow(((708, 132), (708, 165))),
        Box(648, 165, 120, 66, "layers", ("FeedForward", "mixes channels", "and neighbours"), ("FeedForward",)),
        Arrow(((768, 198), (786, 198), (786, 59))),
        *key(358),
    ),
)

SST = Diagram(
    "SST: the cells of the frames in the buffer get positions and go through L layers of sparse attention; the same "
    "queries and keys give the object affinity, with the labels of past frames; the decoder makes masks of both.",
    360,
    (
        Box(12, 40, 95, 84, "frame", ("frame t", "(B, 3, H, W)")),
        Box(130, 52, 90, 60, "layers", ("encoder", "Eq. 1"), ("encoder",)),
        Box(243, 46, 155, 72, "tokens", ("cells + positions", "Eq. 2", "(B, T, H, W, C)"), ()),
        Box(
            425,
            40,
            185,
            84,
            "attention",
            ("SSTLayer", "L times, Eq. 3: each cell", "reads its few cells:", "sparse_attention, Eq. 6"),
            ("SSTLayer", "sparse_attention"),
        ),
        Box(640, 52, 115, 60, "layers", ("FPNDecoder", "object by object"), ("FPNDecoder",)),
        Box(780, 40, 108, 84, "masks", ("masks", "(B, 1+K, H, W)")),
        Box(243, 200, 155, 66, "memory", ("buffer", "cells (B, T, H, W, C)", "labels (B, T, H, W)")),
        Box(
            455,
            200,
            155,
            66,
            "attention",
            ("object_affinity", "Eq. 4: strongest link", "(B, L·heads, 1+K, H, W)"),
            ("object_affinity",),
        ),
        Box(780, 206, 108, 54, "layers", ("memorize",), ("memorize",)),
        Arrow(((107, 82), (130, 82))),
        Arrow(((220, 82), (243, 82))),
        Arrow(((398, 82), (425, 82))),
        Arrow(((610, 82), (640, 82))),
        Arrow(((755, 82), (780, 82))),
        Arrow(((320, 200), (320, 118))),
        Text(345, 165, "cells"),
        Arrow(((532, 124), (532, 200))),
        Text(553, 165, "q, k"),
        Arrow(((398, 240), (455, 240))),
        Text(427, 232, "labels"),
        Arrow(((610, 233), (697, 233), (697, 112))),
        Arrow(((834, 124), (834, 206))),
        Arrow(((834, 260), (834, 296), (320, 296), (320, 266))),
        *key(326),
    ),
)

SITVOS = Diagram(
    "SITVOS: one encoder for past frames and the current one. Memory and query go through self-attention, then take "
    "from each other in FeatureInteraction, where M_x, the memory times the mask features, brings in the objects; the "
    "query reads the memory a last time, and the decoder makes masks.",
    440,
    (
        Box(28, 24, 105, 84, "masks", ("past masks", "(B, K, H, W)")),
        Box(28, 136, 105, 68, "frame", ("past frames",)),
        Box(28, 236, 105, 68, "frame", ("frame t",)),
        Box(158, 40, 115, 52, "layers", ("mask_encoder",), ("mask_encoder",)),
        Box(158, 136, 84, 168, "layers", ("encoder", "one for", "memory", "and query"), ("encoder",)),
        Box(266, 142, 92, 56, "tokens", ("M_ori", "(B,1,T,N,C)")),
        Box(266, 242, 92, 56, "tokens", ("Q_ori", "(B,1,1,N,C)")),
        Box(386, 57, 18, 18, "sum", ("×",)),
        Box(432, 36, 105, 60, "tokens", ("M_x", "(B,K,T,N,C)")),
        Box(382, 142, 112, 56, "attention", ("SelfAttention", "M_SA"), ("SelfAttention",)),
        Box(382, 242, 112, 56, "attention", ("SelfAttention", "Q_SA"), ("SelfAttention",)),
        Box(
            522,
            136,
            186,
            168,
            "attention",
            (
                "FeatureInteraction",
                "Eq. 3: M_SA asks Q_SA",
                "→ M_out (B,1,T,N,C)",
                "",
                "Eq. 4: Q_SA asks M_SA,",
                "finds M_x",
                "→ Q_out (B,K,1,N,C)",
            ),
            ("FeatureInteraction",),
        ),
        Box(752, 136, 136, 72, "attention", ("last_read", "Eq. 2: Q_out reads", "M_out → (B,K,N,C)"), ("last_read",)),
        Box(752, 236, 136, 60, "layers", ("RefineDecoder", "each object,", "then merged"), ("RefineDecoder",)),
        Box(752, 324, 136, 72, "masks", ("masks", "(B, 1+K, H, W)")),
        Arrow(((133, 66), (158, 66))),
        Arrow(((133, 170), (158, 170))),
        Arrow(((133, 270), (158, 270))),
        Arrow(((242, 170), (266, 170))),
        Arrow(((242, 270), (266, 270))),
        Arrow(((273, 66), (386, 66))),
        Text(330, 58, "M_E"),
        Arrow(((340, 142), (340, 112), (395, 112), (395, 75))),
        Arrow(((404, 66), (432, 66))),
        Arrow(((358, 170), (382, 170))),
        Arrow(((358, 270), (382, 270))),
        Arrow(((494, 170), (522, 170))),
        Arrow(((494, 270), (522, 270))),
        Arrow(((537, 66), (615, 66), (615, 136))),
        Arrow(((708, 160), (752, 160))),
        Arrow(((708, 190), (752, 190))),
        Arrow(((820, 208), (820, 236))),
        Arrow(((820, 296), (820, 324))),
        Arrow(((752, 360), (12, 360), (12, 66), (28, 66))),
        Text(380, 352, "memorize: the masks become past masks, the frame a past frame"),
        *key(410),
    ),
)

HST = Diagram(
    "HST: an image Swin sees the frame, a video Swin the past frames with their masks; both give keys and values at "
    "four stages. memory_read is dense at stage 4 and looks, at the finer stages, only under the k best cells of "
    "stage 4. The decoder makes masks of all four answers.",
    410,
    (
        Box(15, 60, 108, 84, "frame", ("frame t", "(B, 3, H, W)")),
        Box(145, 72, 105, 60, "layers", ("image Swin", "stages 1 to 4"), ()),
        Box(
            269, 66, 145, 72, "layers", ("EmbedKeysValues", "query, each stage:", "(B, C, H, W)"), ("EmbedKeysValues",)
        ),
        Box(15, 216, 108, 100, "masks", ("past frames", "with masks", "(B, T, H, W)")),
        Box(145, 236, 105, 60, "layers", ("VideoSwin", "stages 1 to 4"), ("VideoSwin",)),
        Box(
            269,
            230,
            145,
            72,
            "layers",
            ("EmbedKeysValues", "memory, each stage:", "(B, C, T, H, W)"),
            ("EmbedKeysValues",),
        ),
        Box(436, 24, 262, 316, "attention", (), ()),
        Text(567, 46, "memory_read", NAME, True),
        Box(452, 56, 230, 50, "attention", ("stage 4: dense", "all coarse cells, Eq. 1 to 3")),
        Arrow(((500, 106), (500, 136))),
        Text(566, 126, "k best cells"),
        Box(452, 136, 230, 50, "attention", ("stage 3: top-k", "4 cells under each, Eq. 4, 5")),
        Arrow(((500, 186), (500, 212))),
        Box(452, 212, 230, 50, "attention", ("stage 2: top-k", "16 cells under each, Eq. 4, 5")),
        Arrow(((500, 262), (500, 284))),
        Box(452, 284, 230, 48, "attention", ("stage 1: top-k", "64 cells under each, Eq. 4, 5")),
        Box(738, 72, 147, 60, "layers", ("RefineDecoder", "each object, then", "merged"), ("RefineDecoder",)),
        Box(738, 220, 147, 84, "masks", ("masks", "(B, 1+K, H, W)")),
        Arrow(((123, 102), (145, 102))),
        Arrow(((250, 102), (269, 102))),
        Arrow(((414, 102), (436, 102))),
        Arrow(((123, 266), (145, 266))),
        Arrow(((250, 266), (269, 266))),
        Arrow(((414, 266), (436, 266))),
        Arrow(((698, 102), (738, 102))),
        Arrow(((811, 132), (811, 220))),
        Arrow(((811, 304), (811, 360), (69, 360), (69, 316))),
        Text(250, 352, "memorize: frame and masks"),
        *key(380),
    ),
)

DIAGRAMS = {"verbs": VERBS, "aot": AOT, "lstt": LSTT, "sst": SST, "sitvos": SITVOS, "hst": HST}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, diagram in DIAGRAMS.items():
        (FOLDER / f"{name}.svg").write_text(svg(diagram), encoding="utf8")
        print(f"docs/diagrams/{name}.svg")
