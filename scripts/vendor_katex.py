"""Take from KaTeX's npm package what the book needs: its script, its style sheet, its licence and those fonts that are used.

    npm pack katex@0.19.1
    python scripts/vendor_katex.py katex-0.19.1.tgz

A browser asks only for the fonts that a page uses. Letters of the fonts that are left out are refused when a page is
built (`LEFT_OUT` in scripts/book/typeset.py).
"""

import argparse
import re
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts/book/katex"
SITE = ROOT / "docs/assets/katex"
FONTS = [
    "AMS-Regular",  # double-struck letters, rare signs
    "Caligraphic-Regular",
    "Main-Bold",
    "Main-Regular",
    "Math-BoldItalic",
    "Math-Italic",
    "Size1-Regular",
    "Size2-Regular",
    "Size3-Regular",
    "Size4-Regular",
    "Typewriter-Regular",
]
FACE = re.compile(r'@font-face\{[^}]*\}')


def style(css: str) -> str:
    """The style sheet, with the faces that are kept, each with the one format that every browser reads."""
    def face(found: re.Match[str]) -> str:
        file = re.search(r"url\(fonts/(KaTeX_([\w-]+)\.woff2)\)", found[0])
        if file is None or file[2] not in FONTS:
            return ""
        return re.sub(r"src:[^;}]*", f'src:url({file[1]}) format("woff2")', found[0])

    return FACE.sub(face, css)


def vendor(package: Path) -> None:
    """Write the files; the same package gives the same bytes."""
    with tarfile.open(package) as archive:
        def read(name: str) -> bytes:
            member = archive.extractfile(f"package/{name}")
            assert member is not None
            return member.read()

        SCRIPT.mkdir(parents=True, exist_ok=True)
        SITE.mkdir(parents=True, exist_ok=True)
        (SCRIPT / "katex.min.js").write_bytes(read("dist/katex.min.js"))
        (SITE / "katex.css").write_text(style(read("dist/katex.min.css").decode()), encoding="utf-8")
        for place in (SCRIPT / "LICENSE", SITE / "LICENSE.txt"):
            place.write_bytes(read("LICENSE"))
        for font in FONTS:
            (SITE / f"KaTeX_{font}.woff2").write_bytes(read(f"dist/fonts/KaTeX_{font}.woff2"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="KaTeX's package from npm, a .tgz")
    vendor(parser.parse_args().package)
    print(f"{sum(path.stat().st_size for path in SITE.iterdir())} bytes in {SITE}")
