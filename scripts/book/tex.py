r"""TeX becomes MathML. `latex2mathml` reads it; what that leaves undone is done here on its tree: TeX's spacing, upright
and bold letters, limits, accents, `aligned`, `\tag`, and errors (it lets unknown commands and unbalanced braces pass).
"""

import re
import unicodedata
from html import unescape
from itertools import pairwise
from xml.etree.ElementTree import Element, SubElement, tostring

from latex2mathml import commands
from latex2mathml.converter import convert_to_element
from latex2mathml.symbols_parser import convert_symbol

ENVIRONMENTS = {"align*", "aligned", "split", "cases", "array", "smallmatrix"} | {f"{kind}matrix" for kind in ["", *"pbBvV"]}
ARITY = dict(mfrac=2, mroot=2, msub=2, msup=2, munder=2, mover=2, msubsup=3, munderover=3)
SCRIPTED = {"msub", "msup", "msubsup", "munder", "mover", "munderover"}
LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
ROWS = {"math", "mrow", "mtd", "msqrt", "mstyle", "mpadded", "mphantom"}
TAG_COMMAND = re.compile(r"\\tag\s*\{([^}]*)\}")
TAG = "\ue000"  # marks a \tag's text on its way through latex2mathml, where it is a text like any other

# TeX's classes of atoms; an operator in none of them is a relation.
KINDS = dict.fromkeys("([{⟨⌊⌈", "open") | dict.fromkeys(")]}⟩⌋⌉!", "close") | dict.fromkeys(",;", "punct")
KINDS |= dict.fromkeys("+−±∓×÷·⋅∗*∘⊙⊗⊕⊖⊘∧∨∩∪∖⧵⋆•", "bin") | dict.fromkeys("∑∏∐⋃⋂⋁⋀⨁⨂⨆∫∬∭∮", "op")
KINDS |= dict.fromkeys("…⋯⋱", "inner") | dict.fromkeys("|‖/.?⋮", "ord") | dict.fromkeys(":∼⟵⟶⟷⟸⟹⟺⟼⟂⪯⪰", "rel")
LETTERS = set("∞∂∇∅∀∃∄∁⊤⊥∠△")  # latex2mathml takes these for operators
ACCENTS = {mark: mark for mark in "¯´˘ˇ˙¨`˚"} | {"^": "\u02c6", "~": "\u02dc"}  # those that do not stretch
WIDE_ACCENTS = {"^": "\u0302", "―": "\u203e", "→": "\u20d7"}
SPACES = {"thin": "0.167em", "medium": "0.222em", "thick": "0.278em"}


def _alphabets() -> dict[tuple[str, str], str]:
    """Map (style, letter) to Unicode's mathematical alphabets, as browsers know no `mathvariant` but `normal`."""
    style = re.compile("(?:MATHEMATICAL )?(BOLD ITALIC|BOLD|ITALIC|SCRIPT|DOUBLE-STRUCK) (?!ITALIC|SCRIPT|FRAKTUR)")
    table = {}
    for letter in map(chr, [*range(0x2100, 0x2150), *range(0x1D400, 0x1D800)]):
        kind, _, base = unicodedata.decomposition(letter).partition(" ")
        if kind == "<font>" and (match := style.match(unicodedata.name(letter))):
            table[match[1].lower().replace(" ", "-"), chr(int(base, 16))] = letter
    return table


ALPHABETS = _alphabets()


def convert(tex: str, *, display: bool = False) -> str:
    """The HTML of a formula, for notebook outputs and templates."""
    return tostring(element(tex, display=display), encoding="unicode")


def element(tex: str, *, display: bool = False, label: str = "equation") -> Element:
    """A `<math>` element; a display one in a box that scrolls where the screen is too narrow for it."""
    tex = tex.strip()
    try:
        _check(tex)
        math = convert_to_element(_prepared(tex), display="block" if display else "inline")
        _cure(math, script=False)
        _number(math, display)
    except Exception as error:  # latex2mathml raises anything from IndexError to StopIteration
        raise ValueError(f"bad TeX {tex!r}: {str(error) or type(error).__name__}") from error
    numbered = {"class": "numbered"} if TAG_COMMAND.search(tex) else {}
    math.attrib = {"display": math.attrib["display"], "alttext": " ".join(tex.split())} | numbered
    if not display:
        return math
    box = Element("div", {"class": "math", "tabindex": "0", "role": "group", "aria-label": label})
    box.append(math)
    return box


def _check(tex: str) -> None:
    """Refuse what latex2mathml would let pass."""
    if not tex:
        raise ValueError("it is empty")
    depth = 0
    for brace in re.findall(r"[{}]", re.sub(r"\\.", "", tex)):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            break
    if depth:
        raise ValueError("unbalanced braces")
    stack = []
    for command, name in re.findall(r"\\(begin|end)\s*\{([^}]*)\}", tex):
        if name not in ENVIRONMENTS:
            raise ValueError(f"unknown environment {name!r}")
        if command == "begin":
            stack.append(name)
        elif not stack or stack.pop() != name:
            raise ValueError(rf"\end{{{name}}} does not match its \begin")
    if stack:
        raise ValueError(rf"\begin{{{stack[-1]}}} has no \end")
    if match := re.search(r"\\operatorname\*?\s*\{(?!arg\\,|[a-zA-Z ]+\})[^}]*\}", tex):
        raise ValueError(f"{match[0]}: an operator's name is made of letters")
    for name in re.findall(r"\\math[a-z]+", tex):
        if name not in commands.LOCAL_FONTS and name not in commands.CONVERSION_MAP:
            raise ValueError(f"unknown command {name}")


def _prepared(tex: str) -> str:
    """The TeX, written so that latex2mathml reads it as TeX would."""
    tex = re.sub(r"\\(begin|end)\s*\{(?:aligned|split)\}", r"\\\1{align*}", tex)
    tex = re.sub(r"\\operatorname\*?\{arg\\,(max|min)\}", r"\\arg\1", tex)
    tex = re.sub(r"\\(math[a-z]+)\{", r"\\\1 {", tex)  # without the space the font of a single letter is lost
    return TAG_COMMAND.sub(rf"\\text{{{TAG}(\1)}}", tex)


def _cure(node: Element, *, script: bool) -> None:
    """Turn latex2mathml's tree, from the leaves up, into MathML Core that is set as TeX would set it."""
    if len(node) != ARITY.get(node.tag, len(node)):
        raise ValueError("an argument is missing")
    for position, child in enumerate(node):
        if child.tag == "mstyle" and not len(child):  # in a table cell a style is cut off from what it governs
            child.extend(node[position + 1 :])
            del node[position + 1 :]
        if [near.tag for near in node[position : position + 3]] == ["mo", "mtable", "mo"] and not child.attrib:
            fenced = Element("mrow")  # a matrix of its own, or its brackets would grow with its neighbours
            fenced.extend(node[position : position + 3])
            fenced[0].attrib, fenced[2].attrib = {"form": "prefix", "stretchy": "true"}, {"form": "postfix", "stretchy": "true"}
            node[position : position + 3] = [fenced]
    for position, child in enumerate(node):
        _cure(child, script=script or (position > 0 and node.tag in SCRIPTED))
        if child.tag == "mrow" and len(child) == 1 and not child.attrib:
            node[position] = only = child[0]
            if only.tag == "mo" and _kind(only) in ("bin", "rel", "punct"):  # TeX: {=} is no relation
                only.attrib |= {"lspace": "0em", "rspace": "0em"}
    if node.tag in SCRIPTED and "minsize" in node[0].attrib:  # \bigr)^2: only in a row does a bracket grow
        base = Element("mrow")
        base.append(node[0])
        node[0] = base
    if node.tag in ("mi", "mn", "mo", "mtext"):
        _cure_token(node)
    elif node.tag == "mspace":
        name = re.fullmatch("(negative)?(thin|medium|thick)mathspace", node.get("width", ""))
        node.attrib = {"width": ("-" if name[1] else "") + SPACES[name[2]] if name else node.get("width", "0em")}
    elif node.tag == "menclose":
        if node.get("notation") != "box":
            raise ValueError(r"of the commands that enclose only \boxed is known")
        node.tag, node.attrib = "mrow", {"class": "boxed"}
    elif node.tag in ("mover", "munder") and node[1].tag == "mo":
        _cure_accent(node, node[1])
    elif node.tag in ("mtable", "mtd"):
        if "columnlines" in node.attrib or "rowlines" in node.attrib:
            raise ValueError("lines in tables are not known")
        names = {"aligned" if "displaystyle" in node.attrib else "", node.get("columnalign", "")[:1]} - {"", "c"}
        node.attrib = {"class": " ".join(sorted(names))} if names else {}
        if "aligned" in names:
            node.set("displaystyle", "true")
    elif node.tag in LIMITS and (node[0].get("movablelimits") or node[0].text in set("∑∏∐⋃⋂⋁⋀⨁⨂⨆")):
        node.tag = LIMITS[node.tag]
    if node.tag in ROWS:
        _space(node, script)
    if node.tag == "msqrt":  # a browser hangs the sign below a low radicand; TeX raises it, as this strut does
        SubElement(node, "mspace", {"height": "0.72em"})


def _cure_token(node: Element) -> None:
    """Give a token its characters and its proper tag."""
    raw = "".join(node.itertext())
    del node[:]
    if raw and raw in "{}&":
        raise ValueError(f"misplaced {raw}")
    text = re.sub(r"\\([%$&#_])", r"\1", unescape(raw)) if node.tag == "mtext" else unescape(raw)
    if "\\" in text:  # latex2mathml hands on what it does not know
        if not (symbol := convert_symbol(text)):
            raise ValueError(f"unknown command {text}")
        text = chr(int(symbol, 16))
    elif node.tag == "mi" and text == "~":
        text = "∼"  # what latex2mathml makes of \sim
    if variant := node.attrib.pop("mathvariant", None):
        if variant == "monospace":
            node.set("class", "tt")
        elif variant != "normal" and all(variant != style for style, _ in ALPHABETS):
            raise ValueError(f"no {variant} letters in the font")
        if variant == "bold-italic" and unicodedata.category(text) == "Lu" and not text.isascii():
            variant = "bold"  # as in TeX, where capital Greek letters are upright
        text = "".join(ALPHABETS.get((variant, letter), letter) for letter in text)
    if node.tag == "mi" and len(text) > 1 and raw.isascii() and text.isalpha():
        node.tag = "mo"  # log, exp: as an operator it can carry its own spaces
    elif node.tag == "mi" and text in KINDS:
        node.tag = "mo"
    elif node.tag == "mo" and text in LETTERS:
        node.tag, node.attrib = "mi", {}
    if node.tag == "mo":
        node.attrib.pop("fence", None)
        if raw in ("lim", "sup", "inf", "max", "min"):
            node.set("movablelimits", "true")
        if not text:  # \left. and \right.
            node.tag, node.attrib = "mspace", {"width": "0.12em"}
    if node.tag == "mi" and (variant == "normal" or text in set("∇ΓΔΘΛΞΠΣΥΦΨΩ")):
        node.set("mathvariant", "normal")
    node.text = text


def _cure_accent(node: Element, mark: Element) -> None:
    """Set an accent close to its letter, and let only the wide ones stretch."""
    text, wide = mark.text or "", node.get("accent") is None and mark.get("stretchy") != "false"
    if node.tag == "munder" and text == "―":
        mark.text, mark.attrib, node.attrib = "_", {"stretchy": "true"}, {"accentunder": "true"}
    elif node.tag == "mover" and (text in ACCENTS or text == "―" or (text == "→" and mark.get("stretchy"))):
        wide = text in WIDE_ACCENTS and (wide or text == "―")
        mark.text = (WIDE_ACCENTS if wide else ACCENTS)[text]
        mark.attrib, node.attrib = {"stretchy": "true" if wide else "false"}, {"accent": "true"}


def _core(node: Element) -> Element:
    """The operator that an embellished operator (with limits, say) embellishes."""
    while node.tag in SCRIPTED or (node.tag in ("mrow", "mstyle") and len(node) == 1):
        node = node[0]
    return node


def _kind(node: Element) -> str:
    """TeX's class of an atom."""
    if node.tag == "mrow" and len(node) and node[0].get("form") == "prefix":
        return "fenced"
    core = _core(node)
    if core.tag != "mo" or (core.get("lspace") == "0em" and core.get("movablelimits") is None):
        return "ord"
    text = core.text or ""
    return {"prefix": "open", "postfix": "close"}.get(core.get("form", "")) or KINDS.get(text) or ("op" if text[:1].isalpha() else "rel")


def _space(row: Element, script: bool) -> None:
    """Space a row by TeX's rules (The TeXbook, appendix G), of which a browser knows only the defaults."""
    for left, right in reversed(list(pairwise(row))):  # V a r, each upright, is one name
        if all(mi.tag == "mi" and mi.get("mathvariant") and (mi.text or "").isascii() for mi in (left, right)):
            left.text = f"{left.text}{right.text}"
            row.remove(right)
    atoms = [child for child in row if child.tag != "mspace"]
    kinds = [_kind(atom) for atom in atoms]
    for i, (atom, kind) in enumerate(zip(atoms, kinds)):
        before = kinds[i - 1] if i else None
        after = kinds[i + 1] if i + 1 < len(kinds) else None
        core = _core(atom)
        if kind == before == "fenced":
            atoms[i - 1][-1].set("rspace", "0.167em")
        if core.tag != "mo":
            continue
        if kind == "bin" and (before in (None, "bin", "op", "rel", "open", "punct") or after in (None, "rel", "close", "punct")):
            kinds[i] = kind = "ord"  # a sign
        if (kind in ("open", "close") or core.text in ("|", "‖")) and "minsize" not in core.attrib:
            core.attrib.setdefault("stretchy", "false")
        thin_before = kind in ("op", "inner") and before in ("ord", "close", "fenced")
        thin_after = kind in ("op", "inner") and (after in ("ord", "op", "inner") or (kind == "inner" and after in ("open", "punct", "fenced")))
        if kind == "op" or (kind == "inner" and not script):
            core.attrib |= {"lspace": "0.167em" if thin_before else "0em", "rspace": "0.167em" if thin_after else "0em"}
        elif kind == "ord" or (script and kind in ("bin", "rel", "punct", "inner")):
            core.attrib |= {"lspace": "0em", "rspace": "0em"}
        elif kind == "rel":
            spaces = {"lspace": before in (None, "open", "rel"), "rspace": after in (None, "close", "rel", "punct")}
            core.attrib |= {side: "0em" for side, closed in spaces.items() if closed}
            if core.text == ":":
                core.attrib = {"lspace": "0.278em", "rspace": "0.278em"} | core.attrib


def _number(math: Element, display: bool) -> None:
    r"""Move the text of each \tag into a column at the right edge."""
    texts = [token.text for token in math.iter("mtext") if TAG in (token.text or "")]
    if not texts:
        return
    if not display:
        raise ValueError(r"\tag needs display math")
    if math[0].get("class") != "aligned":
        table = Element("mtable", {"class": "aligned", "displaystyle": "true"})
        SubElement(SubElement(table, "mtr"), "mtd").extend(math[0] if math[0].tag == "mrow" else [math[0]])
        math[0] = table
    width = max(map(len, math[0]))
    for row in math[0]:
        cells = list(row) + [Element("mtd") for _ in range(width - len(row))]
        number = Element("mtd", {"class": "tag"})
        for cell in cells:
            number.extend([token for token in cell if token.text in texts])
            cell[:] = [token for token in cell if token.text not in texts]
        for token in number:
            texts.remove(token.text)
            token.text = (token.text or "").removeprefix(TAG)
        row[:] = [Element("mtd", {"class": "pad"}), *cells, number]
        if len(number) > 1:
            raise ValueError(r"two \tag in one line")
    if texts:
        raise ValueError(r"\tag stands at the end of an equation or of its line")


def plain(node: Element) -> str:
    """A formula as one line of text, for tables of contents and titles."""
    parts = [plain(child) for child in node]
    if node.tag in ("msub", "munder", "msup", "mover", "msubsup", "munderover"):
        if node.get("accent") or node.get("accentunder"):
            return parts[0] + {"\u02c6": "\u0302", "\u02dc": "\u0303", "\u00af": "\u0304", "˙": "\u0307"}.get(parts[1].strip(), "")
        marks = ["^"] if node.tag in ("msup", "mover") else ["_", "^"]
        scripts = [part if part in "′″‴" else mark + _grouped(part) for mark, part in zip(marks, parts[1:])]
        return parts[0] + "".join(scripts)
    if node.tag == "mfrac":
        return "/".join(map(_grouped, parts))
    if node.tag == "msqrt":
        return "√" + _grouped("".join(parts))
    text = (node.text or "") + "".join(parts)
    if node.tag == "mo" and _kind(node) in ("bin", "rel", "op") and node.get("lspace") != "0em":
        return f" {text} "
    return " " if node.tag == "mspace" and node.get("width") else text


def _grouped(text: str) -> str:
    """Text in parentheses, unless it needs none."""
    return text if len(text) == 1 or text.isalnum() else f"({text})"
