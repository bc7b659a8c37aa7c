"""The quiz for Moodle and as a page: both hold every question; what is no quiz is refused by the name of its item."""

import runpy
import sys
from copy import deepcopy
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from chromium import needs_chromium, quiet_page
from minivos.errors import InputError

ROOT = Path(__file__).parents[2]
EXPORT = runpy.run_path(str(ROOT / "teaching/export.py"))
QUIZ = yaml.safe_load((ROOT / "teaching/quiz.yaml").read_text("utf8"))
ITEM = {
    "session": 2,
    "name": "a-name",
    "question": "Is $a < b$ what `a & b` says, *always*?",
    "options": [
        {"text": "$a < b$", "reason": "No: \"a\" & 'b'."},
        {"text": "Yes", "right": True, "reason": "Since $\\sqrt{a} < b$."},
        {"text": "No", "reason": "It is."},
    ],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("quiz")
    EXPORT["main"](ROOT / "teaching/quiz.yaml", folder)
    return folder


def write(folder: Path, *items: object) -> Path:
    path = folder / "quiz.yaml"
    path.write_text(yaml.safe_dump(list(items)), "utf8")
    return path


def test_moodle_gets_every_question_with_one_right_answer(written: Path) -> None:
    quiz = ET.parse(written / "quiz.xml").getroot()
    questions = quiz.findall("question[@type='multichoice']")
    assert [each.findtext("name/text") for each in questions] == [item["name"] for item in QUIZ]
    assert all(each.findtext("single") == "true" for each in questions)
    for question, item in zip(questions, QUIZ, strict=True):
        answers = question.findall("answer")
        fractions = [answer.get("fraction") for answer in answers]
        assert fractions == ["100" if "right" in option else "0" for option in item["options"]]
        assert fractions.count("100") == 1
        assert all(answer.findtext("text") and answer.findtext("feedback/text") for answer in answers)


def test_moodle_has_a_category_for_each_session(written: Path) -> None:
    found, session = [], 0
    for question in ET.parse(written / "quiz.xml").getroot():
        if question.get("type") == "category":
            session += 1
            assert f"/{session} " in question.findtext("category/text")
        else:
            found.append(session)
    assert found == [item["session"] for item in QUIZ]


def test_formulas_and_signs_reach_moodle_whole() -> None:
    question = EXPORT["moodle"]([ITEM]).find("question[@type='multichoice']")
    again = ET.fromstring(ET.tostring(question))
    assert again.findtext("questiontext/text") == (
        r"Is \(a &lt; b\) what <code>a &amp; b</code> says, <em>always</em>?"
    )
    assert again.findtext("answer[2]/feedback/text") == r"Since \(\sqrt{a} &lt; b\)."


def test_the_page_needs_nothing_else_and_has_a_reason_for_every_option(written: Path) -> None:
    page = (written / "quiz.html").read_text("utf8")
    options = sum(len(item["options"]) for item in QUIZ)
    assert page.count('type="radio"') == page.count('<div class="reason') == options
    assert page.count("<fieldset>") == page.count('<div class="reason right"') == len(QUIZ)
    assert "<math" in page and "$" not in page.replace("${", "")
    assert not any(sign in page for sign in (' src="', "<link", "@import", "url("))


@needs_chromium
def test_a_chosen_option_shows_its_reason_and_no_other(written: Path, browser) -> None:
    with quiet_page(browser, viewport={"width": 400, "height": 800}) as page:
        page.goto((written / "quiz.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert page.locator(".reason:visible").count() == 0
        page.locator("input").first.focus()
        page.keyboard.press("Space")
        for option in QUIZ[0]["options"]:
            shown = page.locator(".reason:visible")
            assert shown.count() == 1
            assert shown.inner_text().startswith("Right." if "right" in option else "Not right.")
            assert page.locator("#count").inner_text() == ("1" if "right" in option else "0")
            page.keyboard.press("ArrowDown")


def broken(change) -> object:
    item = deepcopy(ITEM)
    return change(item) or item


MISTAKES = {
    "no reason": lambda item: item["options"][0].pop("reason") and None,
    "two right": lambda item: item["options"][0].update(right=True),
    "none right": lambda item: item["options"][1].pop("right") and None,
    "right: false": lambda item: item["options"][0].update(right=False),
    "two options": lambda item: item["options"].pop() and None,
    "options alike": lambda item: item["options"][0].update(text="No"),
    "a number as text": lambda item: item["options"][0].update(text=7),
    "session 7": lambda item: item.update(session=7),
    "unknown field": lambda item: item.update(level=1),
    "empty question": lambda item: item.update(question=" "),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_broken_item_is_refused_by_its_name(mistake, tmp_path: Path) -> None:
    good = {**ITEM, "name": "good"}
    assert EXPORT["read_quiz"](write(tmp_path, good, ITEM))
    with pytest.raises(InputError, match=r"item 2 \(a-name\): "):
        EXPORT["read_quiz"](write(tmp_path, good, broken(mistake)))


def test_a_name_stands_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"item 2 \(a-name\): got a name that"):
        EXPORT["read_quiz"](write(tmp_path, ITEM, ITEM))


@pytest.mark.parametrize("item", [{**ITEM, "name": "Big Name"}, {**ITEM, "name": 3}, "a text", None, {}])
def test_an_item_without_a_proper_name_is_counted(item: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="item 1"):
        EXPORT["read_quiz"](write(tmp_path, item))


@pytest.mark.parametrize("content", [b"", b"a: 1", b"- [", b"\xff\xfe\x00", b"- a: 1\n b: 2"])
def test_a_file_that_is_no_quiz_is_refused_by_its_path(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match="other.yaml"):
        EXPORT["read_quiz"](path)
    with pytest.raises(InputError, match="missing.yaml"):
        EXPORT["read_quiz"](tmp_path / "missing.yaml")


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path, {**ITEM, "session": 9})
    monkeypatch.setattr(sys, "argv", ["export.py", "--quiz", str(path), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"error: .*\(a-name\): got session=9"):
        runpy.run_path(str(ROOT / "teaching/export.py"), run_name="__main__")
    assert not (tmp_path / "out").exists()
