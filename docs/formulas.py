"""Formulas of Markdown as MathML, which browsers draw by themselves."""

import re

from latex2mathml.converter import convert

CODE = r"```.*?```|`[^`\n]*`"
FORMULA = re.compile(rf"(?P<code>{CODE})|\$\$(?P<block>.+?)\$\$|\$(?P<inline>(?:[^$\n]|\n(?!\n))+?)\$", re.DOTALL)


def with_mathml(markdown: str) -> str:
    """Markdown whose formulas, $...$ and $$...$$ outside code, are MathML on one line each."""

    def replace(part: re.Match) -> str:
        if part["code"]:
            return part["code"]
        latex, display = (part["block"], "block") if part["block"] else (part["inline"], "inline")
        return convert(latex.strip(), display=display).replace("\n", " ")

    return FORMULA.sub(replace, markdown)
