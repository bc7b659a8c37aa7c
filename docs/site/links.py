"""Links of a site that lead nowhere: `python docs/site/links.py out/site` prints them, and those to other hosts."""

import os
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup


def read(site: Path) -> dict[Path, BeautifulSoup]:
    """The pages of a site."""
    return {
        path: BeautifulSoup(path.read_text(encoding="utf8"), "html.parser") for path in sorted(site.rglob("*.html"))
    }


def broken_links(pages: dict[Path, BeautifulSoup]) -> list[str]:
    """Each link between pages, or to what they show, whose file or anchor is missing."""
    named = {path: {tag["id"] for tag in page.find_all(id=True)} for path, page in pages.items()}
    wrong = []
    for path, page in pages.items():
        for tag in page.find_all(["a", "link", "img", "script", "iframe"]):
            link = tag.get("href") or tag.get("src") or ""
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            to = Path(os.path.normpath(path.parent / unquote(address.path))) if address.path else path
            anchor = unquote(address.fragment)
            state = "=" in anchor  # what an explorer shows
            if not to.is_file() or (anchor and not state and anchor not in named.get(to, ())):
                wrong.append(f"{path}: {link} leads nowhere")
    return wrong


def outside(pages: dict[Path, BeautifulSoup]) -> Counter[str]:
    """The links to other hosts, and how many there are of each."""
    links = [tag["href"] for page in pages.values() for tag in page.find_all("a", href=True)]
    return Counter(link for link in links if link.startswith(("http:", "https:")))


if __name__ == "__main__":
    site = read(Path(sys.argv[1]))
    print(f"{len(site)} pages", *broken_links(site), *outside(site).items(), sep="\n")
