"""Documents, messages, docstrings and comments are written in plain, idiomatic English.

Each pattern below stood in an earlier text and sent readers back to the start of the sentence.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.prose import prose_of

NOUNS = (
    "bit|board|bucket|checksum|code|core|device|distance|entry|file|folder|frame|image|label|line|"
    "page|photo|picture|process|query|record|row|sink|stage|thread|view|workload"
)
BANNED = {
    r"(?<!there )\b(is|are) no (?!\w+er\b|more\b|less\b|need\b)\w": "is not a ...",
    r"\b(that|what|which) is no \w": "that is not ...",
    r"\bno such thing as\b": "say what is missing",
    rf"\b({NOUNS}|megabytes?|ms|bytes|mb|kb|times|trials|cycles|instructions) an? ({NOUNS})\b"
    r"(?= *[.,;:)]| and| or|$)": "one X per Y",
    r"\ba sub-?folder a\b": "one sub-folder per label",
    r"\bnobody said\b": "assumed",
    r"\bsomebody else's\b": "another process's",
    r"\bthe house\b": "the repository, the architecture",
    r"\bcarr(y|ies) talk\b|\btalk goes\b|\bline of talk\b": "messages go to stderr",
    r"\d of it\b": "0.83x ONNX Runtime's time",
    r"\benrol(?!l)(s|ed|ing|ment)?\b|\benrolment\b": "enroll",
    r"\b\w{3,}isation\b": "American spelling: -ization",
    r"\b(normal|quant|binar|optim|recogn|summar|serial|initial|vector|synchron|standard|general|"
    r"organ|minim|maxim|special)is(e|es|ed|ing|er)\b": "American spelling: -ize",
    r"\b(colour(?!=)|neighbour|behaviour|favour|honour)": "American spelling: -or",
    r"\b(licence|grey|centre|metres?)\b": "American spelling",
    r"\bwhat was asked\b|\bas it is told\b|\bhas to say\b": "say what it is",
    r"\bshould (it|they|he|hashing) ": "if it ...",
    r"\bno measurement\b": "not a valid measurement",
    r"\bthe way back\b": "rollback",
    r"\bwhatever came\b": "say what arrived",
    r"\bis to be had\b|\bare to be had\b": "is available",
    r"\bso many (pictures|bits|views|bytes|labels|photos|cores)\b": "the given number of",
    r"\bbrings? home\b": "say what it does",
    r"\bmeanwhile\b(?=[.;]| and)": "say when",
    r"\bof (ours|theirs)\b": "our own",
    r"\ball the same\b": "anyway, nevertheless",
    r"^\W*(?-i:Of) (an?|the|its|their|those)\b[^,]{0,80}[.;:]|"
    r"(?<=[.:] )(?-i:Of) (an?|its|those)\b": "name the thing first: the password of ...",
    r"\banew\b": "again",
    r"\bfor ever\b": "forever",
    r"\bfor good\b": "permanently",
    r"\bin the place of\b": "instead of",
    r"\b(goes|go|went|going) on (after|with|without|from|where)\b": "continue",
    r"\bby so much\b|\bwithin so many\b": "by that much, within this many",
    r"(?<=[.] )who (is|may|can|has)\b(?![^.]*\?)": "anyone who",
}
"""Pattern to what to write in its place."""
PATTERNS = [(re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in BANNED.items()]
SUFFIXES = {".md", ".py", ".c", ".h", ".js", ".css", ".html", ".sh", ".toml", ".mk", ".service"}
NOT_OURS = ("profiles/reports/", "profiles/tuning/", "tests/data/", "requirements/")
HERE = Path(__file__).name


def _files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [
        ROOT / name
        for name in listed
        if (Path(name).suffix in SUFFIXES or Path(name).name in ("Makefile", "run"))
        and not name.startswith(NOT_OURS)
        and Path(name).name != HERE
        and (ROOT / name).is_file()
    ]


def faults(path: Path) -> list[str]:
    """Return one line for each banned pattern in the prose of a file."""
    found = []
    for line, text in prose_of(path):
        flat = text.replace("\n", " ")
        for pattern, advice in PATTERNS:
            for match in pattern.finditer(flat):
                number = line + text.count("\n", 0, match.start())
                around = flat[max(0, match.start() - 20) : match.end() + 20].strip()
                found.append(f"{path.relative_to(ROOT)}:{number}: '{around}' ({advice})")
    return found


def test_the_prose_is_plain_english() -> None:
    found = [line for path in _files() for line in faults(path)]
    assert not found, f"{len(found)} places:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "sentence",
    [
        "It is no gallery.",
        "One sub-folder a label.",
        "a checksum a row.",
        "stderr carries talk",
        "The neighbours of a query",
        "Enrolment of a photo",
        "0.83 of it",
    ],
)
def test_banned_patterns_are_found(sentence: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"First line.\n\n{sentence}\n")
    assert any(pattern.search(text) for _, text in prose_of(page) for pattern, _ in PATTERNS)
