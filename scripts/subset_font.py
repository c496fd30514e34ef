"""Subset STIX Two Math to what a text on calculus, linear algebra and probability needs.

    pip install fonttools brotli ziamath
    python scripts/subset_font.py            # writes docs/assets/fonts/stix-two-math.woff2

The font travels in PyPI's `ziamath` (OFL licence, see docs/assets/fonts/OFL.txt). The OpenType MATH table and every
glyph it stretches to are kept: without them brackets, roots and braces stay at the size of a letter. A few numbers
are changed where Chromium does not follow TeX (see `tune`).
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
RADICAL_WIDTH = 850
PRIMES = {"minute", "second", "uni2034", "uni2057"}
BRACE_PIECE = 300
BRACES = ("uni23DE", "uni23DF")
SINGLES = (
    "ıȷ\u02c6\u02c7\u02d8\u02d9\u02da\u02dc\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308\u030a\u030c\u0332\u0338\u20d7"
    "ϑϕϖϰϱϵ–—‖‘’“”•…′″‴‵‾⁗\u2061\u2062\u2063"
    "ℂℎℏℑℒℓℕ℘ℙℚℛℜℝℤΩℬℯℰℱℳℴℵ℩ℊℋℐ"
    "↔↕↖↗↘↙↦↩↪↼↽⇀⇁⇄⇋⇌⇐⇑⇒⇓⇔⟵⟶⟷⟸⟹⟺⟼"
    "∀∂∃∄∅∆∇∈∉∋∏∐∑−∓∕∖∗∘√∝∞∠∣∤∥∦∧∨∩∪∫∬∭∮∴∵∶∼≁≃≅≈≉≍≐≔≕≙≜≝≟≠≡≢≤≥≦≧≪≫≮≯≰≱≲≳≺≻≼≽⊂⊃⊄⊅⊆⊇⊈⊊"
    "⊎⊏⊑⊓⊔⊕⊖⊗⊘⊙⊞⊠⊢⊣⊤⊥⊨⊻⋀⋁⋂⋃⋄⋅⋆⋈⋮⋯⋰⋱⌈⌉⌊⌋⎴⎵⏜⏝⏞⏟□◻■△▵▽◦○●◇★✓⟂⟨⟩⟦⟧⟪⟫⨀⨁⨂⨅⨆⩽⩾⪅⪆⪯⪰"
)


def tune(font: TTFont) -> None:
    """Make up, in the font, for what Chromium's layout of mathematics lacks."""
    constants = font["MATH"].table.MathConstants
    # TeX drops scripts by the base's height only for boxes, Chromium for letters too: y_k would hang below z_k.
    constants.SubscriptBaselineDropMin.Value = -40
    constants.SuperscriptBaselineDropMax.Value = 400
    constants.FractionRuleThickness.Value = 56  # one pixel on an ordinary screen
    # Chromium reserves the width of the widest radical for every root: make them all equally wide.
    for name in [name for name in font.getGlyphOrder() if name.split(".")[0] == "uni221A"]:
        if font["hmtx"][name][0]:
            stretch(font, name, RADICAL_WIDTH)
    # Chromium ignores `ssty`: take the primes that are drawn for superscripts, where alone they are used.
    for table in font["cmap"].tables:
        for point, name in table.cmap.items():
            if f"{name}.ssty" in font["glyf"].glyphs and name in PRIMES:
                table.cmap[point] = f"{name}.ssty"
    # A short piece to repeat lets a horizontal brace have any width; with the long one its end is cut off.
    variants = font["MATH"].table.MathVariants
    assemblies = [made.GlyphAssembly.PartRecords for made in variants.HorizGlyphConstruction if made.GlyphAssembly]
    braces = [parts for parts in assemblies if parts[0].glyph.startswith(BRACES)]
    for name in {part.glyph for parts in braces for part in parts if part.PartFlags & 1}:
        stretch(font, name, BRACE_PIECE)
        for part in (part for parts in assemblies for part in parts if part.glyph == name):
            part.FullAdvance, part.StartConnectorLength, part.EndConnectorLength = BRACE_PIECE, BRACE_PIECE, BRACE_PIECE


def stretch(font: TTFont, name: str, width: int) -> None:
    """Give a glyph another width."""
    glyph, (advance, _) = font["glyf"][name], font["hmtx"][name]
    glyph.coordinates.scale((width / advance, 1))
    glyph.coordinates.toInt()
    glyph.recalcBounds(font["glyf"])
    font["hmtx"][name] = (width, glyph.xMin)


def subset(source: Path, target: Path) -> None:
    """Write the subset; the same source gives the same bytes."""
    font = TTFont(source, recalcTimestamp=False)
    tune(font)
    options = Options(flavor="woff2", layout_features=[], hinting=False, notdef_outline=True)
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
