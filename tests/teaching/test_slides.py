"""The decks: every one builds, no number is typed, wrong directives say where they stand."""

import re
import runpy
import shutil
from pathlib import Path

import pytest

from minivos.evaluation.study import UNIT

ROOT = Path(__file__).parents[2]
DECKS = sorted((ROOT / "teaching/slides").glob("*.md"))
SLIDES = runpy.run_path(str(ROOT / "teaching/slides.py"))
each_deck = pytest.mark.parametrize("deck", DECKS, ids=lambda path: path.stem)

# What a slide may say in digits of its own: the names of numbered things, years, the minutes of the plan. All results
# come by directive. Small counts ("three verbs") are words, up to ten: no result of the course is told in such words.
ONE = r"\d+\b(?!\.\d)"
SOME = rf"{ONE}(?:(?:, | to | and ){ONE})*"
NAMES = {
    "equations and figures": rf"\b(?:Eq|Fig)\. {SOME}",
    "sections and tables": rf"\b(?:Sections?|Tables?) \d[a-z]?(?:\.\d)?(?: and {ONE})?",
    "exercises, notebooks, sessions": rf"\b(?:[Ee]xercise|[Nn]otebook|[Ss]ession)s? {SOME}",
    "frames, objects, stages, blocks": rf"\b(?:[Ff]rame|[Oo]bject|[Ss]tage|[Bb]lock)s? {SOME}",
    "years": r"\b(?:19|20)\d\d\b(?!\.\d)",
    "minutes of an exercise": r"\b\d+ minutes\b",
}
IN_A_FORMULA = "0", "1", "2"  # nothing, all, and a square
NUMBER = re.compile(r"(?<!\w)[-+]?\d+(?:[.,]\d+)*(?!\w)")
NUMBER_WORDS = re.compile(r"\b(?:eleven|twelve|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand)\b")
MOST_WORDS, FEWEST, MOST = 40, 14, 20  # words beside a formula, code or figure; slides of a deck
FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$]+\$", re.DOTALL)


def own_words(slide) -> str:
    """What the author of a slide has typed."""
    return SLIDES["DIRECTIVE"].sub(" ", "\n".join(slide.columns))


def typed_numbers(text: str) -> list[str]:
    """Numbers in words and formulas that nothing has printed."""
    formulas = [re.sub(r"\\text\{\(Eq\. \d+\)\}", "", part) for part in FORMULA.findall(text)]
    found = [n for part in formulas for n in re.findall(r"\d+(?:\.\d+)?", part) if n not in IN_A_FORMULA]
    words = FORMULA.sub(" ", text)
    for pattern in NAMES.values():
        words = re.sub(pattern, " ", words)
    return found + NUMBER.findall(words) + NUMBER_WORDS.findall(words)


def slides_of(deck: Path) -> list:
    return SLIDES["read_deck"](deck.read_text(encoding="utf8"))


def minutes_of(slide) -> int:
    return int(re.match(r"(\d+) minutes\. ", slide.notes)[1])


def plan_of(session: str) -> list[tuple[str, int, list[int]]]:
    """The parts of a session: name, minutes, and the slides that stand at the end of "where"."""
    [path] = (ROOT / "teaching/sessions").glob(f"{session}_*.md")
    lines = re.findall(r"^\| (\d+) \| ([^|]+) \|.*\| ([^|]+) \|$", path.read_text(encoding="utf8"), re.MULTILINE)
    parts = []
    for minutes, name, where in lines:
        named = re.search(r"(?:^|; )slides? (\d+)(?:(?:, | to )(\d+))?$", where)
        assert named, f"{name}: no slides at the end of {where!r}"
        first, last = int(named[1]), int(named[2] or named[1])
        parts.append((name, int(minutes), list(range(first, last + 1))))
    return parts


def test_there_is_a_deck_for_each_session():
    assert [deck.stem for deck in DECKS] == [str(n) for n in range(1, 7)]


@each_deck
def test_a_deck_builds_and_needs_nothing_from_outside(deck):
    page = SLIDES["page_of"](int(deck.stem), deck.read_text(encoding="utf8"))
    assert page.count('<section class="slide"') == len(slides_of(deck))
    assert "{{" not in page and not re.search(r"\b(?:BLOCK|INLINE)\d+X", page)
    assert not re.search(r"""(?:src|href)=["']http|url\(["']?http|@import""", page)
    pictures = re.findall(r"<img [^>]*>", page)
    assert pictures and all(re.search(r'alt="[^"]*\w \w', each) for each in pictures)


@each_deck
def test_a_deck_fits_a_session(deck):
    slides = slides_of(deck)
    assert FEWEST <= len(slides) <= MOST
    minutes = [minutes_of(slide) for slide in slides]
    assert sum(minutes) == 90
    exercises = [spent for slide, spent in zip(slides, minutes, strict=True) if slide.title.startswith("Exercise")]
    assert 25 <= sum(exercises) <= 35
    for slide, spent in zip(slides, minutes, strict=True):
        told = re.search(r"\*\*(\d+) minutes\.\*\*", own_words(slide))
        assert bool(told) == slide.title.startswith("Exercise") and (not told or int(told[1]) == spent)


@each_deck
def test_plan_and_deck_are_one_lesson(deck):
    slides, plan = slides_of(deck), plan_of(deck.stem)
    named = [number for _, _, numbers in plan for number in numbers]
    assert named == list(range(1, len(slides) + 1)), "every slide once, in order"
    for name, minutes, numbers in plan:
        spent = [minutes_of(slides[number - 1]) for number in numbers]
        assert sum(spent) == minutes, f"{name}: {minutes} minutes in the plan, {spent} on slides {numbers}"


@each_deck
def test_a_question_is_answered_on_the_next_slide(deck):
    titles = [slide.title for slide in slides_of(deck)]
    asked = [n for n, title in enumerate(titles) if title == "Predict first"]
    assert len(asked) >= 2 and all(titles[n + 1].startswith("Answer") for n in asked)
    assert titles[1].startswith("Where we are") and titles[-1] == "Take home"
    assert any("fail" in title for title in titles) and any(title.startswith("Exercise") for title in titles)


@each_deck
def test_no_number_is_typed_and_words_are_few(deck):
    for slide in slides_of(deck):
        assert not typed_numbers(own_words(slide)), slide.title
        below_title = own_words(slide).replace(slide.title, "", 1)
        words = re.findall(r"\w[\w'-]*", FORMULA.sub(" ", below_title))
        assert len(words) <= MOST_WORDS, f"{slide.title}: {len(words)} words"
        assert len(slide.notes.split()) >= 15, slide.title


def test_a_deck_leads_to_the_plan_it_was_given():
    text = "# One\n\nWords.\n\nNote:\nSay it."
    assert 'href="../plan.html"' in SLIDES["page_of"](1, text, "../plan.html")
    assert "<a " not in SLIDES["page_of"](1, text)


def test_a_study_shows_each_case_once_and_says_its_unit_below():
    shown = SLIDES["study"]("aot_memory", "what it shows")
    assert shown.count(UNIT.replace("&", "&amp;")) == 1 and shown.endswith("</p>")
    cases = [each.partition("\n") for each in re.findall(r"<pre[^>]*>(.*?)</pre>", shown, re.DOTALL)]
    assert cases and all(re.fullmatch(r"\w+, \d+ seeds", name) and "+-" in rows for name, _, rows in cases)


MADE_UP = (
    "J&F 0.81",
    "by 11 points",
    "83.5",
    "84 % of the weight",
    "twelve clips",
    "$k = 8$",
    "+3 points",
    "frame 4, 0.5",
)
NAMED = (
    "Eq. 4 and 5",
    "Eq. 1 to 3",
    "Table 3a",
    "Section 4.2",
    "Exercises 1 and 3",
    "notebook 07",
    "frame 17",
    "DAVIS 2017",
)


@pytest.mark.parametrize("text", MADE_UP)
def test_a_made_up_number_is_found(text):
    assert typed_numbers(text)


@pytest.mark.parametrize(
    "text", [*NAMED, "objects 1 and 2", "30 minutes", "block1/long_term", "R50-AOT-L", "$p_0 + x^2$"]
)
def test_the_name_of_a_numbered_thing_is_no_result(text):
    assert not typed_numbers(text)


def test_numbers_come_from_what_was_printed():
    said = SLIDES["said"]("02", "cell26")
    assert SLIDES["number"]("02", "cell26", r"as trained: J&F ([\d.]+)") in re.findall(r"[\d.]+", said)
    assert SLIDES["printed"]("02", "cell17", "cosine 0:", "cosine 0:").count("cosine") == 1
    line = "<mark>E = Y @ P @ D  # AOT Eq. 3</mark>"
    assert SLIDES["code"]("02", "cell10", "# AOT Eq. 3") == f'<pre class="code" style="--columns:26">{line}</pre>'


@pytest.mark.parametrize(
    ("directive", "says"),
    [
        ('{{figure 02 cell99 "a picture of it"}}', "notebook 02 has no cell cell99"),
        ('{{figure 12 cell01 "a picture of it"}}', "there is no notebook 12"),
        ('{{figure 02 cell06 3 "a picture of it"}}', "cell cell06 of notebook 02 has 2 figures, not a figure 3"),
        ('{{figure 02 cell26 "a picture of it"}}', "has 0 figures"),
        ("{{figure 02 cell24}}", "needs a text that says what it shows"),
        ('{{figure 02 cell24 "figure"}}', "needs a text that says what it shows"),
        ('{{number 02 cell26 "accuracy ([0-9.]+)"}}', "nothing there fits accuracy"),
        ('{{number 02 cell26 "J&F"}}', "J&F has no group"),
        ('{{number 02 cell26 "J&F (["}}', "unterminated"),
        ("{{number 02 cell26}}", "missing 1 required"),
        ("{{printed 02 cell08}}", "cell cell08 of notebook 02 printed nothing"),
        ('{{code 02 cell10 "# AOT Eq. 9"}}', "nothing there fits # AOT Eq. 9"),
        ("{{formula 02 cell09 2}}", "has 1 formulas, not a number 2"),
        ('{{table 07 cell-32 "Nobody"}}', "no table with a row that begins with Nobody"),
        ('{{study nothing "what it shows"}}', "there is no study nothing"),
        ('{{diagram nothing "what it shows"}}', "there is no diagram nothing"),
        ('{{picture 02 cell24 "what it shows"}}', "unknown word picture"),
        ('{{figure 02 cell24 "a picture}}', "No closing quotation"),
    ],
)
def test_a_wrong_directive_names_deck_slide_and_itself(directive, says):
    text = f"# One\n\nNote:\n1 minutes.\n\n---\n## Two\n\n{directive}\n\nNote:\n2 minutes."
    with pytest.raises(SLIDES["SlideError"]) as refused:
        SLIDES["page_of"](3, text)
    assert f"deck 3, slide 2 (Two), {directive}: " in str(refused.value) and says in str(refused.value)


@pytest.mark.parametrize("text", ["words alone\n\nNote:\nSay it.", "# A title", "Words.\n\n# Late\n\nNote:\nSay it."])
def test_a_slide_needs_a_title_and_notes(text):
    with pytest.raises(SLIDES["SlideError"], match=r"deck 1, slide 1 \("):
        SLIDES["page_of"](1, text)


def test_the_command_writes_a_page_and_says_where_no_pdf_can_be(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    SLIDES["main"](tmp_path, [2])
    assert [file.name for file in tmp_path.iterdir()] == ["2.html"]
    assert "no Chromium" in capsys.readouterr().out
