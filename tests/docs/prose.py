"""The check for prose that has to be read twice: ``make lint`` runs it.

It looks for three markers in docstrings, comments and messages of `steerio/`, and in the pages:

* ``what`` as a noun ("what a worker holds" for "the tasks of a worker");
* ``who``, ``whoever``, ``nobody`` and their kind, for a program;
* ``where`` for "if".

These are right: a question; a heading; words in quotation marks or backticks; ``what`` after a
verb of telling ("says what happened"); ``who`` after a word for people; ``where`` after a word
for a place. `prose.toml` lists the other places in which a marker is right, and the number of
markers that may stand in the packages that are not rewritten yet.

``python -m tests.docs.prose PATH...`` lists the markers below these paths.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTS = Path(__file__).with_suffix(".toml")


def any_of(words: str) -> str:
    """Return a pattern for any of these words, each at its beginning and end."""
    return rf"\b(?:{'|'.join(words.replace('_', r'[ ]').split())})\b"


TELLING = any_of(
    "answers? asks? asked asking checks? checked decides? decided deciding depends_on describes? "
    "explains? explained finds?_out found_out guess knows? known learns? learned matter say says "
    "saying said sees? seen shows? shown states? stated tells? told"
)
PEOPLE = any_of(
    "anyone authors? colleagues? developers? everyone no_one one people person readers? "
    "scientists? someone those users? you"
)
PLACES = any_of(
    "directory directories folders? hosts? knows? known lines? places? points? positions? said "
    "says? saying shown? shows? spots? stays? stayed stands? tells? told"
)
CONDITION = any_of(
    "it they there that this these one none no nothing neither both any possible necessary needed"
)

MARKERS = {
    "what": re.compile(rf"(?P<right>{TELLING}\s+)?\bwhat\b(?!\s+to\b|[:'-])", re.IGNORECASE),
    "who": re.compile(
        rf"(?P<right>{PEOPLE},?\s+)?"
        r"\b(?:who|whom|whoever|(?:some|no|any|every)body|he|him|his)\b(?!-)",
        re.IGNORECASE,
    ),
    # A condition begins a sentence, follows a word like "only", or has a pronoun for its subject.
    "where": re.compile(
        rf"(?P<right>{PLACES},?\s+)?\b(?:(?-i:Where)|where\s+{CONDITION}"
        rf"|(?:also|and|but|even|except|not|only|or|save)\s+where)\b",
        re.IGNORECASE,
    ),
}
QUOTED = re.compile(r"``[^`]*``|`[^`]*`|\"[^\"]*\"|“[^”]*”|https?://\S+")
QUESTION = re.compile(r"[^.:;!?]*\?")
WORDS = re.compile(r"[A-Za-z']{2,}")
FENCED = re.compile(r"^( *)(```+).*?^\1\2`*\s*$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#.*$|^ *\|.*\|$(?=\n *\|[-:| ]+\|$)", re.MULTILINE)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Text:
    """A piece of prose, and the line on which it begins."""

    line: int
    words: str


@dataclass(frozen=True)
class Marker:
    """A marker that was found: its kind, its line, and the words around it."""

    path: str
    line: int
    kind: str
    excerpt: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.kind}: {self.excerpt}"


# --- texts ---------------------------------------------------------------------------------------


def texts_of_python(source: str) -> Iterator[Text]:
    """Yield the docstrings, comments and messages of a module."""
    tree = ast.parse(source)
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            text = "".join(map(str, parts))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
        ):
            text = node.value
        else:
            continue
        # A shorter string is a name, a key or a format.
        if id(node) in bare or len(WORDS.findall(text)) >= 3:
            yield Text(node.lineno, text)
    yield from comments(source)


def comments(source: str) -> Iterator[Text]:
    """Yield the comments of a module, those on neighbouring lines as one."""
    first, gathered = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if gathered and line != first + len(gathered):
            yield Text(first, "\n".join(gathered))
            gathered = []
        if not gathered:
            first = line
        gathered.append(token.string.lstrip("# "))
    if gathered:
        yield Text(first, "\n".join(gathered))


def text_of_page(source: str) -> Text:
    """Return the prose of a Markdown page: without its code, headings and comments."""
    for left_out in (FENCED, HEADING, COMMENT):
        source = left_out.sub(blank, source)
    return Text(1, source)


def blank(found: re.Match[str]) -> str:
    """Replace a match by as many spaces, so that lines stay where they are."""
    return re.sub(r"\S", " ", found[0])


# --- markers -------------------------------------------------------------------------------------


def markers_of(path: str, source: str) -> Iterator[Marker]:
    """Yield the markers in a file, in order of kind."""
    texts = texts_of_python(source) if path.endswith(".py") else [text_of_page(source)]
    for text in texts:
        words = QUESTION.sub(blank, QUOTED.sub(blank, text.words))
        for kind, pattern in MARKERS.items():
            for found in pattern.finditer(words):
                if found["right"] is None:
                    yield Marker(
                        path,
                        text.line + words.count("\n", 0, found.start()),
                        kind,
                        excerpt(text.words, found.start()),
                    )


def excerpt(words: str, at: int) -> str:
    """Return the words around a place, on one line."""
    return " ".join(words[max(0, at - 30) : at + 50].split())


def files() -> Iterator[str]:
    """Yield the paths of all files that are checked."""
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "bench/**/*.md", "steerio/**/*.py"):
        for path in sorted(ROOT.glob(pattern)):
            yield path.relative_to(ROOT).as_posix()


def package_of(path: str) -> str:
    """Return the package or folder that a file is counted with."""
    return path if path.count("/") < 2 else "/".join(path.split("/")[:-1])


def main(wanted: list[str]) -> int:
    """Print the markers of each package, and those that are too many; return an exit status.

    Args:
        wanted: list all markers in files whose path begins with one of these.
    """
    lists = tomllib.loads(LISTS.read_text())
    allowed: dict[str, dict[str, str]] = lists["allowed"]
    limits: dict[str, int] = lists["not-rewritten"]
    unused = {(path, words) for path, entries in allowed.items() for words in entries}
    packages: Counter[str] = Counter()
    counted: dict[str, list[Marker]] = {}
    for path in files():
        place = max((limit for limit in limits if path.startswith(limit)), key=len, default="")
        packages[package_of(path)] += 0
        for marker in markers_of(path, (ROOT / path).read_text()):
            reasons = {words for words in allowed.get(path, ()) if words in marker.excerpt}
            unused -= {(path, words) for words in reasons}
            if not reasons:
                packages[package_of(path)] += 1
                counted.setdefault(place, []).append(marker)
                if path.startswith(tuple(wanted)):
                    print(marker)
    print_counts(packages)
    faults = [
        *(
            fault
            for place, found in counted.items()
            for fault in excess(place, found, limits.get(place, 0))
        ),
        *(
            f"{LISTS.name}: {path} has no {words!r} now; remove the entry"
            for path, words in sorted(unused)
        ),
    ]
    for place, limit in limits.items():
        if (now := len(counted.get(place, ()))) < limit:
            print(f"{LISTS.name}: {place} has {now} markers now; lower its limit of {limit}")
    print(*faults, sep="\n", end="\n" if faults else "")
    return int(bool(faults))


def print_counts(packages: Counter[str]) -> None:
    """Print the number of markers in each package that has any."""
    width = max(map(len, packages))
    for package, count in sorted(packages.items()):
        if count:
            print(f"{package:{width}} {count:5}")
    print(f"{'markers in all':{width}} {packages.total():5}")


def excess(place: str, found: list[Marker], limit: int) -> Iterator[str]:
    """Yield the markers of a place that has more than its limit, and say so."""
    if len(found) > limit:
        yield from map(str, found)
        yield f"{place or 'rewritten files'}: {len(found)} markers, {limit} allowed"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
