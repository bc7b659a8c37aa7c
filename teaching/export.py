"""Write the quiz for a learning platform and as a page: `python teaching/export.py` fills out/quiz/.

    quiz.xml     Moodle XML: question bank, Import, "Moodle XML format"; a category for each session
    quiz.html    one page that works offline; choosing an option shows its reason

`--quiz FILE` takes another YAML file, laid out as teaching/quiz.yaml. Texts may hold `code`, *stress* and formulas,
$...$.
"""

import argparse
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import yaml
from latex2mathml.converter import convert

from minivos.errors import InputError
from minivos.video.files import whole_file
from minivos.viewing.page import ALONE, write_page

SESSIONS = {1: "Memory and attention", 2: "AOT: identities", 3: "AOT: LSTT", 4: "SST", 5: "SITVOS", 6: "HST, shoot-out"}
MARKED = re.compile(r"`(?P<code>[^`]+)`|\$(?P<formula>[^$]+)\$|\*\*(?P<strong>[^*]+)\*\*|\*(?P<em>[^*\s][^*]*)\*")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
FOR_MOODLE = {"correctfeedback": "Right.", "partiallycorrectfeedback": "In part.", "incorrectfeedback": "Not right."}

HOW = "Choose an answer. Below it you read whether it is right, and why."
STYLE = """
.quiz {
  fieldset { margin: 1.2rem 0; padding: .6rem 1rem; border: 1px solid var(--line); border-radius: .6rem; min-width: 0;
    overflow-x: auto }
  legend { padding: 0 .4rem; color: var(--quiet) }
  fieldset, code { overflow-wrap: anywhere }
  label { display: flex; align-items: flex-start; gap: .6rem; padding: .35rem 0; cursor: pointer }
  label > span { min-width: 0 }
  input { flex: none; margin-top: .35rem }
  .reason { margin: 0 0 .5rem 1.6rem; padding: .3rem .7rem; border-left: .3rem solid #b3541e; background: var(--card) }
  .reason.right { border-color: #1b7f4b }
}
.count { position: fixed; bottom: 0; right: 1rem; margin: 0; padding: .4rem .8rem; background: var(--page);
  border: 1px solid var(--line); border-radius: .6rem .6rem 0 0 }
"""
SCRIPT = """<script>
addEventListener("change", ({target}) => {
  for (const {value, name} of document.getElementsByName(target.name))
    document.getElementById(name + value).hidden = value !== target.value;
  const first = document.querySelectorAll(".right:not([hidden])").length;
  document.getElementById("count").textContent = first;
});
</script>"""


def read_quiz(path: Path) -> list[dict[str, Any]]:
    """The items of a quiz; InputError, with the name of the item, for what is not one."""
    try:
        items = yaml.safe_load(path.read_text(encoding="utf8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(items, list) or not items:
        raise InputError(f"{path} holds no items; expected a list of them, see teaching/README.md")
    names: set[str] = set()
    for number, item in enumerate(items, start=1):
        name = item.get("name") if isinstance(item, dict) else None
        where = f"{path}, item {number}" + (f" ({name})" if name else "")
        if wrong := what_is_wrong(item):
            raise InputError(f"{where}: {wrong}")
        if name in names:
            raise InputError(f"{where}: got a name that an item above has; expected a new one")
        names.add(name)
    return items


def what_is_wrong(item: Any) -> str | None:
    """What keeps this from being an item, or None."""
    if not isinstance(item, dict) or set(item) != {"session", "name", "question", "options"}:
        got = ", ".join(map(str, item)) if isinstance(item, dict) else type(item).__name__
        return f"got {got}; expected session, name, question, options"
    if item["session"] not in SESSIONS:
        return f"got session={item['session']!r}; expected 1 to {len(SESSIONS)}"
    if not is_text(item["name"]) or not NAME.fullmatch(item["name"]):
        return f"got name={item['name']!r}; expected small letters, digits and hyphens"
    if not is_text(item["question"]):
        return "expected a question, a text"
    options = item["options"]
    if not isinstance(options, list) or not 3 <= len(options) <= 5:
        return "expected 3 to 5 options"
    for option in options:
        if not isinstance(option, dict) or not {"text", "reason"} <= set(option) <= {"text", "reason", "right"}:
            return f"got {option!r} as an option; expected text and reason, and right: true for the right one"
        if not is_text(option["text"]) or not is_text(option["reason"]):
            return f"got {option!r} as an option; expected texts: put quotes around a number"
        if option.get("right", True) is not True:
            return f"got right: {option['right']!r}; expected true, or nothing"
    if (right := sum("right" in option for option in options)) != 1:
        return f"got {right} right options; expected one"
    if len({option["text"] for option in options}) < len(options):
        return "two options are alike"
    return None


def is_text(value: Any) -> bool:
    """Whether this is a text that is not empty."""
    return isinstance(value, str) and bool(value.strip())


def as_html(text: str, formula: Callable[[str], str]) -> str:
    """A text of the quiz as HTML; `formula` says what becomes of the inside of $...$."""
    parts, end = [], 0
    for found in MARKED.finditer(text):
        kind, inside = found.lastgroup, found[found.lastgroup]
        parts.append(escape(text[end : found.start()]))
        parts.append(formula(inside) if kind == "formula" else f"<{kind}>{escape(inside)}</{kind}>")
        end = found.end()
    return "".join([*parts, escape(text[end:])]).strip()


def for_moodle(text: str) -> str:
    r"""As HTML whose formulas stand in \(...\), as Moodle's filter reads them."""
    return as_html(text, lambda latex: rf"\({escape(latex)}\)")


def for_page(text: str) -> str:
    """As HTML whose formulas are MathML."""
    return as_html(text, convert)


def moodle(items: list[dict[str, Any]]) -> ET.Element:
    """The items as a Moodle quiz."""
    quiz = ET.Element("quiz")
    for session, title in SESSIONS.items():
        chosen = [item for item in items if item["session"] == session]
        if not chosen:
            continue
        category = ET.SubElement(ET.SubElement(quiz, "question", type="category"), "category")
        ET.SubElement(category, "text").text = f"$course$/top/minivos/{session} {title}"
        for item in chosen:
            question = ET.SubElement(quiz, "question", type="multichoice")
            ET.SubElement(ET.SubElement(question, "name"), "text").text = item["name"]
            add_html(question, "questiontext", for_moodle(item["question"]))
            settings = {"defaultgrade": "1", "single": "true", "shuffleanswers": "true", "answernumbering": "abc"}
            for name, value in settings.items():
                ET.SubElement(question, name).text = value
            for name, text in FOR_MOODLE.items():
                add_html(question, name, text)
            for option in item["options"]:
                fraction = "100" if "right" in option else "0"
                answer = add_html(question, "answer", for_moodle(option["text"]), fraction=fraction)
                add_html(answer, "feedback", for_moodle(option["reason"]))
    return quiz


def write_moodle(items: list[dict[str, Any]], path: Path) -> None:
    """Write the items as a Moodle quiz."""
    tree = ET.ElementTree(moodle(items))
    ET.indent(tree)
    with whole_file(path) as part:
        tree.write(part, encoding="utf-8", xml_declaration=True)


def add_html(parent: ET.Element, tag: str, html: str, **attributes: str) -> ET.Element:
    """A new element of `parent` that holds a text in HTML."""
    element = ET.SubElement(parent, tag, format="html", **attributes)
    ET.SubElement(element, "text").text = html
    return element


def page_body(items: list[dict[str, Any]]) -> str:
    """The items as the body of a page, session by session."""
    links, parts = [], []
    for session, title in SESSIONS.items():
        chosen = [item for item in items if item["session"] == session]
        if chosen:
            heading = f"Session {session}: {title}"
            links.append(f'<li><a href="#session{session}">{heading}</a>, {len(chosen)} questions</li>')
            parts.append(f'<h2 id="session{session}">{heading}</h2>')
            parts.append(questions(chosen))
    return f"<p>{HOW}</p><ul>{''.join(links)}</ul>{''.join(parts)}{count(items)}"


def questions(items: list[dict[str, Any]]) -> str:
    """Items to choose from; SCRIPT, once on a page, shows the reasons."""
    fields = (fieldset(item, number) for number, item in enumerate(items, start=1))
    return f'<div class="quiz">{"".join(fields)}</div>'


def count(items: list[dict[str, Any]]) -> str:
    """How many of the items are answered, and the script that counts them."""
    return f'<p class="count" aria-live="polite">Answered right: <span id="count">0</span> of {len(items)}.</p>{SCRIPT}'


def fieldset(item: dict[str, Any], number: int) -> str:
    """One item: radio buttons, and below each the reason, hidden."""
    lines = [f"<fieldset><legend>Question {number}</legend><p>{for_page(item['question'])}</p>"]
    for place, option in enumerate(item["options"]):
        right = "right" in option
        button = f'<input type="radio" name="{item["name"]}" value="{place}" autocomplete="off">'
        lines.append(f"<label>{button}<span>{for_page(option['text'])}</span></label>")
        look, verdict = ("reason right", "Right.") if right else ("reason", "Not right.")
        reason = f"<strong>{verdict}</strong> {for_page(option['reason'])}"
        lines.append(f'<div class="{look}" role="status" id="{item["name"]}{place}" hidden>{reason}</div>')
    return "\n".join([*lines, "</fieldset>"])


def main(quiz: Path, out: Path) -> None:
    """Write both forms of a quiz into the folder `out`."""
    items = read_quiz(quiz)
    out.mkdir(parents=True, exist_ok=True)
    write_moodle(items, out / "quiz.xml")
    write_page(out / "quiz.html", "Quiz: minivos", "Quiz", page_body(items), ALONE, STYLE)
    print(f"{len(items)} questions: {out / 'quiz.xml'}, {out / 'quiz.html'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quiz", type=Path, default=Path(__file__).with_name("quiz.yaml"), help="teaching/quiz.yaml")
    parser.add_argument("--out", type=Path, default=Path("out/quiz"), help="a folder; out/quiz if not given")
    given = parser.parse_args()
    try:
        main(given.quiz, given.out)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
