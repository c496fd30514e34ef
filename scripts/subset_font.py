"""Subset STIX Two Math to what a text on calculus, linear algebra and probability needs.

    pip install fonttools brotli ziamath
    python scripts/subset_font.py            # writes docs/assets/fonts/stix-two-math.woff2

The font travels in PyPI's `ziamath` (OFL licence, see docs/assets/fonts/OFL.txt). The OpenType MATH table and every
glyph it stretches to are kept: without them brackets, roots and braces stay at the size of a letter.
"""

import argparse
from importlib.resources import files
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

TARGET = Path(__file__).parents[1] / "docs/assets/fonts/stix-two-math.woff2"
RANGES = [
    (0x20, 0x7E),  # Latin
    (0xA0, 0xFF),  # Latin-1: accented letters of \text, ±, ×, ÷
    (0x391, 0x3D6),  # Greek
    (0x2190, 0x2199),  # arrows
    (0x1D400, 0x1D4CF),  # bold, italic, bold italic, script
    (0x1D538, 0x1D56B),  # double-struck
    (0x1D6A4, 0x1D74D),  # dotless i and j; Greek bold and italic
    (0x1D74E, 0x1D755),  # the last of bold-italic Greek's variants
    (0x1D7CE, 0x1D7E1),  # bold and double-struck digits
]
SINGLES = (
    "ıȷ\u02c6\u02c7\u02d8\u02d9\u02da\u02dc\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308\u030a\u030c\u0332\u0338\u20d7"
    "ϑϕϖϰϱϵ–—‖‘’“”•…′″‴‵‾⁗\u2061\u2062\u2063"
    "ℂℎℏℑℒℓℕ℘ℙℚℛℜℝℤΩℬℯℰℱℳℴℵ℩ℊℋℐ"
    "↔↕↖↗↘↙↦↩↪↼↽⇀⇁⇄⇋⇌⇐⇑⇒⇓⇔⟵⟶⟷⟸⟹⟺⟼"
    "∀∂∃∄∅∆∇∈∉∋∏∐∑−∓∕∖∗∘√∝∞∠∣∤∥∦∧∨∩∪∫∬∭∮∴∵∶∼≁≃≅≈≉≍≐≔≕≙≜≝≟≠≡≢≤≥≦≧≪≫≮≯≰≱≲≳≺≻≼≽⊂⊃⊄⊅⊆⊇⊈⊊"
    "⊎⊏⊑⊓⊔⊕⊖⊗⊘⊙⊞⊠⊢⊣⊤⊥⊨⊻⋀⋁⋂⋃⋄⋅⋆⋈⋮⋯⋰⋱⌈⌉⌊⌋⎴⎵⏜⏝⏞⏟□◻■△▵▽◦○●◇★✓⟂⟨⟩⟦⟧⟪⟫⨀⨁⨂⨅⨆⩽⩾⪅⪆⪯⪰"
)


def subset(source: Path, target: Path) -> None:
    """Write the subset; the same source gives the same bytes."""
    font = TTFont(source, recalcTimestamp=False)
    options = Options(flavor="woff2", layout_features=["dtls"], hinting=False, notdef_outline=True)
    options.name_IDs = [0, 1, 2, 4, 6, 13, 14]  # copyright and licence stay with the font, as the OFL asks
    options.recalc_timestamp = False
    subsetter = Subsetter(options)
    letters = {point for first, last in RANGES for point in range(first, last + 1)}
    subsetter.populate(unicodes=letters | {ord(character) for character in SINGLES})
    subsetter.subset(font)
    font.flavor = "woff2"
    target.parent.mkdir(parents=True, exist_ok=True)
    font.save(target, reorderTables=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path(str(files("ziamath"))) / "fonts/STIXTwoMath-Regular.ttf")
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    subset(arguments.source, arguments.target)
    print(f"{arguments.target}: {arguments.target.stat().st_size} bytes")
