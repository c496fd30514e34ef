"""Works are linked where they are mentioned: what is a mention, what is none, and each chapter's text against its references."""

import re
from pathlib import Path

import pytest
from book import hygiene, mentions
from markdown import Markdown

DOCS = Path(__file__).parents[2] / "docs"
CHAPTERS = [path for path in sorted(DOCS.rglob("*.md")) if "\n## References\n" in path.read_text(encoding="utf-8")]
KINDS = ("definition", "given", "condition")  # marks of formulas that name no source

REFERENCES = """
## References

- A. Ash, B. de Beech, C.-D. O'Cedar, *[One title of three](https://doi.org/10.1/1)*, 2001: section 1.
- A. Ash, *[Another title altogether](https://doi.org/10.1/2)*, arXiv:1999.01234, 2002; D. Elm and others, "[A third](https://doi.org/10.1/3)", *Journal* 4 (2003), 1999–2000. E. Fir, *A fourth*, 2004.
- Y. Nesterov, *[Introductory Lectures on Convex Optimization](https://doi.org/10.1/4)*, 2004.
- A. Gorse, B. Holly, *First*, 2005.
- A. Gorse, B. Holly, *Second*, 2006.
- [I. Ivy](https://doi.org/10.1/5); [J. Juniper](https://doi.org/10.1/6), four papers of 1970: the update.
- The frameworks' documentation: PyTorch, `torch.nn.init`.
"""


def rendered(text):
    return Markdown(extensions=["admonition", "attr_list", "md_in_html", "pymdownx.details", "tables", "toc"]).convert(text)


def links(text):
    html = mentions.linked(rendered(text + "\n" + REFERENCES))
    return re.findall(r'<a class="footnote-ref" href="#ref-([^"]*)">(.*?)</a>', html, re.S)


@pytest.mark.parametrize(("text", "expected"), [
    ("Ash, de Beech and O'Cedar prove it.", [("ash-2001", "Ash, de Beech and O'Cedar")]),
    ("It is so (Ash, de Beech & O'Cedar,\nsection 3).", [("ash-2001", "Ash, de Beech &amp; O'Cedar")]),
    ("Ash and others; Ash et al.; Ash and her colleagues", [("ash-2001", "Ash and others"), ("ash-2001", "Ash et al."), ("ash-2001", "Ash and her colleagues")]),
    ("Ash and others (2001), Ash 2002.", [("ash-2001", "Ash and others (2001)"), ("ash-2002", "Ash 2002")]),
    ("Elm and others, Fir's thesis, (Fir)", [("elm-2003", "Elm and others"), ("fir-2004", "Fir"), ("fir-2004", "Fir")]),
    ("Fir found it, and Nesterov proved it.", [("fir-2004", "Fir"), ("nesterov-2004", "Nesterov")]),
    ("Nesterov's loss is lower than that of Nesterov with momentum; Nesterov's theorem says so.", [("nesterov-2004", "Nesterov")]),
    ("*Another Title Altogether* says so.", [("ash-2002", "<em>Another Title Altogether</em>")]),
    ("Gorse and Holly found it; Gorse and Holly (2006) too.", [("gorse-2006", "Gorse and Holly (2006)")]),
    ("The update of Ivy and Juniper.", [("ivy-1970", "Ivy and Juniper")]),
])  # fmt: skip
def test_what_is_a_mention(text, expected):
    assert [(name, " ".join(found.split())) for name, found in links(text)] == expected


@pytest.mark.parametrize("text", [
    "[Ash 2002](x.md)", "`Ash 2002`", "# Ash 2002", "> Ash 2002", "Ash and others (2002)", "Ash 1999", "Ash, de Beech", "Ash and de Beech",
    "Ash–Elm 2003", "Mountain-Ash 2002", "Gorse and Holly 2007", "Elm 2004", "*A third*", "Ashes 2002",
])  # fmt: skip
def test_what_is_none(text):
    assert links(text) == []


def test_each_work_of_an_entry_has_a_place_of_its_own_that_the_theme_can_show():
    html, works = mentions.listed(rendered(REFERENCES))
    assert [work.id for work in works] == [
        "ref-ash-2001", "ref-ash-2002", "ref-elm-2003", "ref-fir-2004", "ref-nesterov-2004", "ref-gorse-2005", "ref-gorse-2006", "ref-ivy-1970",
    ]  # fmt: skip
    assert works[0].authors == ("Ash", "de Beech", "O'Cedar") and works[2].others
    # The theme shows the elements in the place, without the text beside them.
    assert '<span id="ref-elm-2003"><span>D. Elm and others, "<a href="https://doi.org/10.1/3">A third</a>"' in html
    assert re.sub("</?span[^>]*>", "", html) == rendered(REFERENCES)
    twice = mentions.listed(rendered("## References\n\n- A. Ash, *One*, 2001.\n- A. Ash, *Two*, 2001."))[1]
    assert [work.id for work in twice] == ["ref-ash-2001", "ref-ash-2001-2"]


def test_a_page_without_references_stays_as_it_is():
    assert mentions.linked("<p>Ash 2002</p>") == "<p>Ash 2002</p>"


def chapter(path):
    """A chapter's HTML without its code, the sources behind its formulas in parentheses."""
    text = hygiene.FRONT.sub("", path.read_text(encoding="utf-8"))
    text = hygiene.FENCE.sub("", text)
    text = re.sub(r"<!--: (.*?) -->", lambda mark: "" if mark[1] in KINDS else f" ({mark[1]}) ", text, flags=re.S)
    text = hygiene.MATH.sub("x", hygiene.COMMENT.sub("", text))
    return mentions.linked(rendered(text))


# What looks like a mention, or is one of two works that one could mean.
LOOSE = {
    "dropout": ["Gal and Ghahramani"],
    "nesterov": ["Nesterov", "Nesterov"],
    "weight_decay": ["AlexNet (2012)", "ResNets (2016)", "GPT-3 (2020)"],
}
# Works that a chapter rests on without naming their authors in the text.
UNNAMED = {
    "gpu": "okuta-2017 williams-2009",
    "performance": "drepper-2007 lam-2015",
    "augmentation": "simard-1992 chen-2020 simonyan-2015 he-2016 howard-2013",
    "batch_norm": "van-laarhoven-2017 hoffer-2018 wan-2021 ioffe-2017",
    "dropout": "hinton-2012 baldi-2014 warde-farley-2013 krizhevsky-2012 simonyan-2015 gal-2016 gal-2016-2 goodfellow-2016",
    "ensembles": "heskes-1997 hastie-2009 hansen-1990 lakshminarayanan-2017 loshchilov-2017 polyak-1992 izmailov-2018 abe-2022 wenzel-2020",
    "weight_decay": "krogh-1991 goodfellow-2016 hastie-2009 tibshirani-1996 parikh-2014 beck-2009 srebro-2005 srivastava-2014 loshchilov-2019 krizhevsky-2012 he-2016 brown-2020 neyshabur-2015",
    "adagrad": "mcmahan-2010 zinkevich-2003 dean-2012",
    "adam": "zinkevich-2003 zhang loshchilov-2019 balles-2018 steele-2004",
    "comparison": "barzilai-1988 nocedal-2006 nesterov-2004 kingma-2015 saitoh-2016",
    "groups": "goodfellow-2016 hastie-2009",
    "momentum": "qian-1999 karpathy zavriev-1993 mandt-2017 chen-2022",
    "nesterov": "goh-2017 beck-2009 bengio-2013 zagoruyko-2016 huang-2017",
    "newton": "boyd-2004 bates-1988 hestenes-1952 heskes-2000 martens-2010 royer-2020 squire-1998",
    "quasi_newton": "nocedal-1980 liu-1989 byrd-1994 hager-2005",
    "rmsprop": "graves-2013 kingma-2015",
    "schedules": "bottou-2018 nemirovski-2009 ruppert-1988 loshchilov-2017 smith-2018 goyal-2017",
    "sgd": "polyak-1987 nocedal-2006 goh-2017 goodfellow-2016 cochran-1977 de-bruijn-1955 mehta-2004",
    "own_data": "king-2001",
    "diagnostics": "goodfellow-2016 press-2007 zhang-2017 lu-2020 guo-2017",
    "initialization": "lecun-1998 saxe-2014 mezzadri-2007 hanin-2020 poole-2016 schoenholz-2017 zhang-2019",
    "preprocessing": "lecun-1998 lecun-1991 bell-1997 kessy-2018 goodfellow-2013 krizhevsky-2012 simonyan-2015",
    "search": "mckay-1979 cawley-2010 boucheron-2013 rocklin-2015",
    "transfer": "sharif-razavian-2014 pan-2010 breiman-1983 li-2017",
}


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_mention_leads_to_a_work_and_every_work_is_mentioned(path):
    found = mentions.doubtful(chapter(path))
    assert [each for each in found if not each.startswith("#")] == LOOSE.get(path.stem, [])
    assert [each.removeprefix("#ref-") for each in found if each.startswith("#")] == UNNAMED.get(path.stem, "").split()
