"""The memory from which Python starts in readers' browsers: what it is made of, when there is none, and what a page finds in it."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from book import runtime, snapshot, wheel

ROOT = Path(__file__).parents[2]
FILES = dict.fromkeys(snapshot.FROM, b"")
DECODER = b'const wasm = "AGFzbQ==";\n/**\n* BSD License\n*\n* Of its authors.\n*/\n'


def test_another_input_gives_another_memory():
    keys = {snapshot.key(FILES), *(snapshot.key(FILES | {name: b"changed"}) for name in FILES)}
    assert len(keys) == len(FILES) + 1


def test_a_change_of_what_makes_it_gives_another_memory(monkeypatch, tmp_path):
    before = snapshot.key(FILES)
    changed = tmp_path / "snapshot.mjs"
    changed.write_text("other")
    monkeypatch.setattr(snapshot, "SCRIPT", changed)
    assert snapshot.key(FILES) != before


def test_all_that_goes_into_it_counts(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(snapshot, "_make", lambda inputs, node, place: (asked.append({*inputs}), place.mkdir()))
    snapshot.made(FILES | {"scipy.tar.zlib": b"not in it"}, DECODER, "node", tmp_path)
    assert asked == [{*snapshot.FROM, *snapshot.SCRIPTS, "program.py"}]
    snapshot.made(FILES, DECODER, None, tmp_path)  # it was kept
    assert len(asked) == 1
    monkeypatch.setattr(snapshot, "PROGRAM", "import numpy")
    snapshot.made(FILES, DECODER, "node", tmp_path)
    assert len(asked) == 2


def test_the_last_few_are_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(snapshot, "_make", lambda inputs, node, place: place.mkdir())
    made = []
    for n in range(snapshot.KEPT + 2):
        monkeypatch.setattr(snapshot, "PROGRAM", f"number = {n}")
        snapshot.made(FILES, DECODER, "node", tmp_path)
        made += [path for path in tmp_path.iterdir() if path not in made]
        os.utime(made[-1], (n, n))
    assert {*tmp_path.iterdir()} == {*made[-snapshot.KEPT:]}


def test_the_decoder_comes_with_its_licence():
    assert snapshot.unwrapped(DECODER) == {"zstd.wasm": b"\0asm", "zstd.LICENSE.txt": b"BSD License\n\nOf its authors.\n"}
    with pytest.raises(OSError, match="another than was foreseen"):
        snapshot.unwrapped(b"const wasm = 1")


def test_there_is_none_without_node_or_decoder(tmp_path):
    with pytest.raises(OSError, match="Node is not there"):
        snapshot.made(FILES, DECODER, None, tmp_path)
    with pytest.raises(OSError, match="its decoder is not there"):
        snapshot.made(FILES, None, "node", tmp_path)


def test_there_is_none_with_an_old_node(tmp_path):
    node = runtime._node()
    assert node is not None  # the extra `test` brings one
    old = tmp_path / "node"
    old.write_text(f"""#!/bin/sh\nexec "{node}" --import "data:text/javascript,import zlib from 'node:zlib'; delete zlib.zstdCompressSync" "$@"\n""")
    old.chmod(0o755)
    with pytest.raises(OSError, match=r"^Node 22\.15 or newer is needed, and this is v\d+\.\d+\.\d+$"):
        snapshot.made(FILES, DECODER, str(old), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["node"]


def test_a_site_without_it_has_all_the_rest_and_one_line_says_so(monkeypatch):
    monkeypatch.setattr(runtime, "files", lambda say: {})
    monkeypatch.setattr(runtime, "parts", lambda found, say: {"numpy.tar.zlib": b"numpy"})
    monkeypatch.setattr(runtime, "_part", lambda part, tree, core, say: b"package")
    monkeypatch.setattr(runtime, "_unpacked", lambda archive: {})
    said = []
    made = runtime.site.__wrapped__(b"", said.append)
    assert said == ["Python starts from its files in the browser, not from a memory: its decoder is not there"]
    assert {name.rpartition("/")[2] for name in made} == {"numpy.tar.zlib", "package.tar.zlib", "pretty.py", "katex.js"}


BLOCKS = [
    "import numpy as np, sympy as sp\nx = sp.symbols('x')\nprint(sp.integrate(sp.exp(-x**2), (x, -sp.oo, sp.oo)), np.linalg.det(np.diag([2.0, 3.0])))",
    "import random, sympy.core.random\nprint(random.random(), np.random.rand(), np.random.default_rng().random(), sympy.core.random.rng.random())",
    "from reference_impl.optimization.nesterov import nesterov\nfrom reference_impl.engines.symbolic import latex\nlatex(nesterov)",
    "from reference_impl.plots import figure, show\nfig, axes = figure()\naxes.plot([1, 2])\nshow(fig, alt='A line.', caption='**A line.** It rises.')",
    # what it has not: modules of Python's own, of a part, of another part, and a file
    "import mimetypes, numpy.polynomial.laguerre, sympy.stats, matplotlib\nprint(sympy.stats.E(sympy.stats.Die('D', 6)))\n"
    "print(open(matplotlib.get_data_path() + '/fonts/ttf/DejaVuSans-Bold.ttf', 'rb').read(4))",
]


def test_a_page_finds_in_it_what_it_would_have_imported(tmp_path):
    node, said = runtime._node(), []
    assert node is not None
    found = runtime.files(said.append, [])
    if found is None or runtime.DECODER not in found:
        pytest.skip("no build has fetched Pyodide's files yet, and a test asks no host for them")
    made = runtime.site.__wrapped__(wheel.wheel()[1], said.append)
    assert any(name.endswith("/memory.zst") for name in made), said
    for name, content in made.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "javascripts").symlink_to(ROOT / "docs/javascripts")
    blocks, count = [], 0
    for text in BLOCKS:
        own = len(text.splitlines())
        blocks.append({"code": text, "cell": True, "first": count, "count": own, "needs": []})
        count += own
    job = {"page": "index.html", "base": next(iter(made)).rpartition("/")[0], "blocks": blocks, "statements": [{"writes": [], "rests": [], "raises": False}] * count, "alone": False}
    done = subprocess.run([node, str(ROOT / "scripts/browser/runs.mjs"), str(tmp_path), str(tmp_path / "answers")], input=json.dumps([job, job]),
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in (tmp_path / "answers").read_text(encoding="utf-8").splitlines()]
    assert [answer["good"] for answer in answers] == [True] * 10, answers
    printed = ["".join(value for kind, value in answer["outputs"] if kind == "text") for answer in answers]
    assert printed[0] == printed[5] == "sqrt(pi) 6.0\n"
    assert not {*printed[1].split()} & {*printed[6].split()}  # chance is another in each
    assert "text/latex" in answers[2]["outputs"][0][1] and "application/vnd.descent.figure+json" in answers[3]["outputs"][0][1]
    assert printed[4] == "7/2\nb'\\x00\\x01\\x00\\x00'\n"
