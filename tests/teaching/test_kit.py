"""The teaching kit is whole: its plans sum up, its questions have answers, its links lead somewhere."""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KIT = ROOT / "teaching"
SESSIONS = sorted((KIT / "sessions").glob("*.md"))
GUIDES = sorted((KIT / "guides").glob("*.md"))
PAGES = sorted(path for path in KIT.rglob("*.md") if path.parent.name != "slides")  # test_slides.py has the decks
HEADINGS = [
    "Goals",
    "Before",
    "Plan",
    "On the board",
    "What students usually get wrong",
    "Predict first",
    "Homework",
    "If time is short / If there is time",
]
BRIEF_PARTS = ["Question", "Why", "Where to start", "First afternoon", "Hand in", "In 40 hours", "Pitfalls", "Rubric"]
ASKS = re.compile(r"\*\*Predict\s+first:?\*\*")
each_session = pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
each_guide = pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)


def read(path: Path) -> str:
    return path.read_text("utf8")


def without_code(text: str) -> str:
    """Markdown without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def sections(text: str, level: int = 2) -> dict[str, str]:
    """What stands under each heading of a level."""
    parts = re.split(rf"^{'#' * level} (.+)$", without_code(text), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The cells of the first table, without its head."""
    table = re.search(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    assert table, "no table"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def asking_cells() -> set[tuple[str, str]]:
    """Notebook number and id of each cell that asks "Predict first"; opening cards only explain the words."""
    asking = set()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(read(path))["cells"][1:]:
            if cell["cell_type"] == "markdown" and ASKS.search("".join(cell["source"])):
                asking.add((path.stem[:2], cell["id"]))
    return asking


def test_every_predict_first_has_an_answer() -> None:
    answers = yaml.safe_load(read(KIT / "predict_first.yaml"))
    assert all(set(each) == {"notebook", "cell", "question", "answer"} for each in answers)
    assert all(isinstance(text, str) and text.strip() for each in answers for text in each.values())
    answered, asking = {(each["notebook"], each["cell"]) for each in answers}, asking_cells()
    assert len(asking) > 50
    assert answered == asking, f"no answer: {sorted(asking - answered)}; asks nothing: {sorted(answered - asking)}"
    assert max(Counter((each["notebook"], each["question"]) for each in answers).values()) == 1


@cache
def printed_numbers(notebook: str) -> list[float]:
    """All numbers that a notebook prints or writes, without their signs."""
    [path] = (ROOT / "notebooks").glob(f"{notebook}_*.ipynb")
    cells = json.loads(read(path))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = ["".join(cell["source"]) for cell in cells] + ["".join(output.get("text", "")) for output in outputs]
    return [float(number) for number in re.findall(r"\d*\.?\d+", "\n".join(texts))]


def test_decimals_of_an_answer_stand_in_its_notebook() -> None:
    """Or in another that it names; rounded, if at all. An answer that says "title" reads them from a picture."""
    for each in yaml.safe_load(read(KIT / "predict_first.yaml")):
        if "title" in each["answer"]:
            continue
        named = {each["notebook"], *re.findall(r"notebook\s+(\d\d)", each["answer"])}
        for number in re.findall(r"(?<![\w.])\d*\.\d+", each["answer"]):
            places = len(number.partition(".")[2])
            printed = {round(found, places) for name in named for found in printed_numbers(name)}
            assert float(number) in printed, f"notebook {each['notebook']}, {each['cell']}: {number}"


def test_the_quiz_has_ten_items_a_session_and_hides_its_answers() -> None:
    items = yaml.safe_load(read(KIT / "quiz.yaml"))
    counts = Counter(item["session"] for item in items)
    assert sorted(counts) == [1, 2, 3, 4, 5, 6] and min(counts.values()) >= 10
    assert len({item["name"] for item in items}) == len(items)
    for session in counts:
        here = [item for item in items if item["session"] == session]
        places = Counter(["right" in option for option in item["options"]].index(True) for item in here)
        assert max(places.values()) <= len(here) / 2, f"session {session}: right too often in one place"
    longest = [max(item["options"], key=lambda option: len(option["text"])) for item in items]
    share = sum("right" in option for option in longest) / len(items)
    assert share <= 0.5, f"in {share:.0%} of the items the longest option is the right one"


def test_there_are_six_sessions() -> None:
    assert [path.name[0] for path in SESSIONS] == list("123456")


@each_session
def test_a_plan_has_its_headings_and_90_minutes(path: Path) -> None:
    text = read(path)
    assert re.match(rf"# Session {path.name[0]}: \S", text)
    parts = sections(text)
    assert list(parts) == HEADINGS
    assert sum(int(row[0]) for row in rows(parts["Plan"])) == 90
    assert all(len(row) == 4 and all(row) for row in rows(parts["Plan"]))
    goals = re.findall(r"^[*-] |^\d\. ", parts["Goals"], re.MULTILINE)
    assert 3 <= len(goals) <= 5
    assert "predict_first.yaml" in parts["Predict first"]
    board = text.partition("## On the board")[2].partition("\n## ")[0]
    assert board.count("\n```") in (4, 6), "expected two or three drawings"


@each_session
def test_a_plan_names_cells_that_exist(path: Path) -> None:
    text = read(path)
    numbers = set(re.findall(r"\b0\d\b", text))
    known = set()
    for file in (ROOT / "notebooks").glob("*.ipynb"):
        if file.stem[:2] in numbers:
            known |= {cell["id"] for cell in json.loads(read(file))["cells"]}
    named = set(re.findall(r"`(cell-?\d+[a-z]?)`", text))
    assert named <= known, f"no such cell: {sorted(named - known)}"


def test_there_are_four_guides() -> None:
    assert [path.stem for path in GUIDES] == ["aot", "hst", "sitvos", "sst"]


@each_guide
def test_a_guide_asks_ten_questions_and_answers_them(path: Path) -> None:
    asked = sections(read(path))["Ten questions"]
    numbered = re.split(r"^(\d+)\. ", asked, flags=re.MULTILINE)[1:]
    assert [int(number) for number in numbered[::2]] == list(range(1, 11))
    for question in numbered[1::2]:
        answer = re.search(r"<details>\s*<summary>Answer</summary>(.+?)</details>", question, re.DOTALL)
        assert answer and len(answer[1].split()) >= 5, question[:80]


def test_there_are_eight_briefs_and_each_has_its_parts() -> None:
    briefs = {name: text for name, text in sections(read(KIT / "projects.md")).items() if re.match(r"\d\. ", name)}
    assert [int(name[0]) for name in briefs] == list(range(1, 9))
    for name, text in briefs.items():
        assert list(sections(text, 3)) == BRIEF_PARTS, name
        rubric = rows(sections(text, 3)["Rubric"])
        assert len(rubric) >= 4 and all(len(row) == 5 and all(row) for row in rubric), name
        assert any("honest" in row[0].lower() for row in rubric), f"{name}: no word on honest measuring"


def test_the_files_that_briefs_start_from_exist() -> None:
    named = set(
        re.findall(r"`((?:minivos|studies|benchmarks|docs|tests|notebooks)/[\w/.]+)`", read(KIT / "projects.md"))
    )
    assert len(named) > 20
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_exam_has_100_points_and_an_answer_to_each_question() -> None:
    exam, key = sections(read(KIT / "exam.md")), sections(read(KIT / "exam_key.md"))
    title = re.compile(r"Question (\d+).*\((\d+) points\)")
    asked, answered = ([found.groups() for name in part if (found := title.fullmatch(name))] for part in (exam, key))
    assert [int(number) for number, _ in asked] == list(range(1, len(asked) + 1)) and len(asked) >= 12
    assert sum(int(points) for _, points in asked) == 100
    assert answered == asked, "the key has other questions, or other points"
    for name, text in key.items():
        if found := title.fullmatch(name):
            parts = [int(points) for points in re.findall(r"\*\*(\d+) points?\*\*", text)]
            assert sum(parts) == int(found[2]), f"{name}: the parts have {sum(parts)} points"
            assert "Usual wrong answers" in text, name


def places_in(text: str) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(KIT)))
def test_links_lead_to_files_that_exist(path: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", without_code(read(path))):
        file, _, place = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), f"{link}: no such file"
        assert not place or place in places_in(read(target)), f"{link}: no such heading"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(KIT)))
def test_lines_are_short_but_for_tables(path: Path) -> None:
    long = [n for n, line in enumerate(read(path).splitlines(), 1) if len(line) > 130 and not line.startswith("|")]
    assert not long, f"lines {long} are longer than 130 columns"
