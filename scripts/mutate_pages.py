"""Change digits, signs, exponents and comparison words of pages at random, one at a time, and print what the book's machine catches.

    python scripts/mutate_pages.py                                the pages of the second edition, 600 changes
    python scripts/mutate_pages.py docs/optimization/adam.md -n 200 --missed
    python scripts/mutate_pages.py -n 100 --missed --since main   in the lines that differ from those of `main`

A page's code is run once; each changed page is then held to what that run gave, as the build and the tests do. Exits with 1 if a number
or a claimed comparison passes, or more than one formula in twenty.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from book import claims, formulas
from book.page import Page, PageError
from book.steps import Steps
from touched import touched
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
OPPOSITE = [("more", "fewer"), ("larger", "smaller"), ("longer", "shorter"), ("higher", "lower"), ("above", "below"), ("faster", "slower"),
            ("better", "worse"), ("nearer", "further"), ("best", "worst"), ("always", "never"), ("every", "no"), ("all", "none"), ("most", "least"),
            ("wider", "narrower"), ("less", "more"), ("greater", "smaller"), ("increases", "decreases"), ("rises", "falls"), ("cannot", "can"),
            ("first", "last"), ("steeper", "flatter"), ("largest", "smallest"), ("longest", "shortest"), ("lowest", "highest"), ("ahead", "behind")]
OTHER = {a: b for pair in OPPOSITE for a, b in (pair, pair[::-1])}
NUMBERS = ["three", "four", "five", "six", "seven", "eight", "ten", "twelve", "twenty", "forty", "fifty", "hundred", "thousand", "half", "twice"]
LEAST = {"number": 1.0, "comparison": 1.0, "formula": 0.95}

Change = tuple[str, int, int, str]  # its kind, from where to where, what then stands there


def changes(text: str) -> Iterator[Change]:
    """Every change that could be made to a page."""
    page = Page.parse(text)
    lines = [0]
    for line in text.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    for block in page.blocks:
        start = lines[block.line - 1]
        body = text[start : start + len(block.text) + (len(block.text.splitlines()) + 1) * 12]  # an indented fence is longer in the file
        if block.kind == "derivation":
            end = body.index("```")
            for line in re.finditer(r"^(?!\s*(?:with|if|near)\b)(?P<tex>[^%\n]*)", body[:end], re.M):
                yield from (("formula", start + a, start + b, new) for a, b, new in _in_formula(line["tex"], line.start()))
        elif block.kind == "prose":
            yield from ((kind, start + a, start + b, new) for kind, a, b, new in _in_prose(block.text))


def _in_prose(text: str) -> Iterator[Change]:
    plain = claims._without_references(text)
    found = list(formulas.formulas(plain))
    proved = [(at, at + len(tex) + 4) for at, tex, _, kind, comment in found if formulas.vouched(kind, comment)]
    for at, tex, displayed, _, _ in found:
        if displayed:
            yield from (("formula", a, b, new) for a, b, new in _in_formula(tex, at + 2))
    for number in claims.numbers(plain, words=True):
        if number.structural or any(start <= number.start < end for start, end in proved):
            continue
        if number.in_words:
            for word in re.finditer(r"[a-z]+", text[number.start : number.end], re.I):
                if word[0].lower() in NUMBERS:
                    others = [n for n in NUMBERS if n != word[0].lower()]
                    yield "number", number.start + word.start(), number.start + word.end(), random.choice(others)
        else:
            for digit in re.finditer(r"\d", number.text.split("×")[0].split("e")[0]):
                at = number.start + digit.start()
                yield "number", at, at + 1, random.choice([d for d in "123456789" if d != digit[0]])
    for claim in claims._CLAIM.finditer(plain):
        if said := claims._SAID.fullmatch(claim["code"].strip()):
            behind = plain[: claim.start()].rstrip()
            begin = len(behind) - len(said["words"]) - 6
            for word in re.finditer(r"[a-z]+", plain[begin : claim.start()], re.I):
                if (low := word[0].lower()) in OTHER and low in said["words"].lower():
                    yield "comparison", begin + word.start(), begin + word.end(), OTHER[low]


def _in_formula(tex: str, start: int) -> Iterator[tuple[int, int, str]]:
    for match in re.finditer(r"\\text\{[^}]*\}|\\[a-zA-Z]+|(?P<digit>\d)|(?P<sign>[+-])|\^(?P<power>\d)|\^(?P<letter>[a-zA-Z])", tex):
        if match["digit"]:
            yield start + match.start(), start + match.end(), random.choice([d for d in "123456789" if d != match["digit"]])
        elif match["sign"] and re.search(r"[\w}\])]\s*$", tex[: match.start()]):
            yield start + match.start(), start + match.end(), {"+": "-", "-": "+"}[match["sign"]]
        elif match["power"]:
            yield start + match.start(), start + match.end(), "^" + random.choice([d for d in "123456789" if d != match["power"]])
        elif match["letter"]:
            yield start + match.start(), start + match.end(), f"^{{{match['letter']}+1}}"


def held(text: str, path: Path, namespace: dict[str, Any]) -> list[str]:
    """The faults of a page, given its run."""
    try:
        page = Page.parse(text, path)
    except PageError as error:
        return [str(error)]
    return [*claims.faults(page, namespace), *formulas.faults(page, namespace)]


def tried(path: Path, count: int, seed: int, lines: set[int] | None) -> list[tuple[str, bool, str]]:
    """Run a page, change it `count` times, in some lines alone if they are given; of each change its kind, whether it was caught, and what it was."""
    random.seed(seed)
    text = (ROOT / path).read_text(encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        namespace = Steps(text, path, {}).run().namespace
    if faults := held(text, path, namespace):
        raise SystemExit("\n".join(["the page has faults before it is changed:", *faults]))
    possible: dict[str, list[Change]] = {}
    for change in changes(text):
        if lines is None or text.count("\n", 0, change[1]) + 1 in lines:
            possible.setdefault(change[0], []).append(change)
    chosen = [c for kind, found in possible.items() for c in random.sample(found, min(len(found), count if kind == "formula" else count // 2))]
    result = []
    for kind, start, end, new in chosen:
        changed = text[:start] + new + text[end:]
        line = text.count("\n", 0, start) + 1
        what = f"{path}:{line}: {' '.join(text[max(start - 30, 0):start].split())} [{text[start:end]} → {new}] {' '.join(text[end:end + 30].split())}"
        result.append((kind, bool(held(changed, path, namespace)), what))
    return result


def second_edition() -> list[Path]:
    """The pages that say that they are of it."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return [path.relative_to(ROOT) for path in pages if str(Page.read(path).meta.get("edition", "1")) == "2"]


def main() -> int:
    """Print what was caught, by kind and page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path, help="by default the pages of the second edition")
    parser.add_argument("-n", type=int, default=600, help="how many changes, about, over all pages (default: 600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--since", help="a commit: changes only in lines that differ from its")
    parser.add_argument("--missed", action="store_true", help="print every change that passed")
    options = parser.parse_args()
    pages = options.pages or second_edition()
    lines = touched(options.since, ROOT, "docs") if options.since else {}
    if options.since and not (pages := [path for path in pages if path.as_posix() in lines]):
        print(f"no page differs from {options.since}")
        return 0
    each = -(-options.n // (2 * len(pages)))
    caught: Counter[tuple[str, str]] = Counter()
    made: Counter[tuple[str, str]] = Counter()
    missed = []
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        jobs = {pool.submit(tried, path, each, options.seed, lines.get(path.as_posix())): path for path in pages}
        for job, path in tqdm(jobs.items(), desc="pages", disable=None):
            for kind, found, what in job.result():
                made[kind, path.stem] += 1
                caught[kind, path.stem] += found
                if not found:
                    missed.append(f"{kind}: {what}")
    low = False
    for kind, least in LEAST.items():
        total, good = (sum(n for (k, _), n in counts.items() if k == kind) for counts in (made, caught))
        low |= good < least * total
        parts = ", ".join(f"{page} {caught[kind, page]}/{made[kind, page]}" for k, page in made if k == kind)
        print(f"{kind:11} {good:4}/{total:<4} {100 * good / max(total, 1):6.1f} %   at least {100 * least:.0f} %   ({parts})")
    print(f"{sum(made.values())} changes")
    if options.missed:
        print(*missed, sep="\n")
    return int(low)


if __name__ == "__main__":
    sys.exit(main())
