"""Python for readers' browsers: where its files come from, what is taken of them, what pages say, and what runs when a reader presses Run."""

import hashlib
import importlib
import importlib.util
import inspect
import io
import json
import marshal
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from book import runtime
from book.copies import copies, direct, statements
from book.page import Page

ROOT = Path(__file__).parents[2]
FILES = {"one.whl": b"first", "two.whl": b"second"}


@pytest.fixture
def lock(monkeypatch, tmp_path):
    """A lock of two files, and an empty cache."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(runtime, "LOCK", runtime.LOCK | {"files": digests, "address": "http://127.0.0.1:9/"})
    monkeypatch.setattr(runtime, "ROOT", tmp_path)
    monkeypatch.delenv(runtime.FOLDER, raising=False)


def readers_page():
    """What a worker loads into Python."""
    spec = importlib.util.spec_from_file_location("reader", ROOT / "docs/javascripts/page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def place(found, name="a place"):
    def give(missing):
        yield from found.items()

    give.__name__ = name
    return give


# ---- Where the files come from ----


def test_each_file_of_the_lock_is_named_by_a_sha256():
    lock = json.loads((ROOT / "scripts/book/runtime.json").read_text(encoding="utf-8"))
    assert all(len(digest) == 64 and int(digest, 16) for digest in lock["files"].values())
    assert set(lock["files"]) == {*runtime.CORE, runtime.DECODER, *(name for names in lock["parts"].values() for name in names)}
    assert {Path(path).name for listed in lock["npm"].values() for path in listed.split()} == {*runtime.CORE, runtime.DECODER}


def test_the_first_place_that_has_a_file_gives_it(lock):
    asked = []

    def second(missing):
        asked.append(missing)
        yield "two.whl", FILES["two.whl"]

    assert runtime.files(print, [place({"one.whl": b"first"}), second, place({"two.whl": b"other"})]) == FILES
    assert asked == [{"two.whl"}]


def test_no_further_place_is_asked_when_all_is_there(lock):
    def never(missing):
        raise AssertionError("it was asked")
        yield

    assert runtime.files(print, [place(FILES), never]) == FILES
    assert runtime.files(print, [never]) == FILES  # they were kept


def test_a_file_with_another_sha256_is_not_taken(lock):
    said = []
    assert runtime.files(said.append, [place(FILES | {"two.whl": b"changed"})]) is None
    assert said[0] == "two.whl is not the file that runtime.json names, and is not taken"
    assert said[1].startswith("no Run on the site: two.whl could not be had")
    assert runtime.files(said.append, [place(FILES | {"two.whl": b"changed"}), place(FILES)]) == FILES


def test_a_kept_file_that_was_damaged_is_fetched_again(lock, tmp_path):
    runtime.files(print, [place(FILES)])
    kept = tmp_path / ".cache/runtime" / hashlib.sha256(b"first").hexdigest()
    kept.write_bytes(b"damaged")
    assert runtime.files(print, []) is None
    assert runtime.files(print, [place(FILES)]) == FILES and kept.read_bytes() == b"first"


def test_a_place_that_cannot_be_reached_is_passed_over(lock):
    def broken(missing):
        raise OSError("no network")
        yield

    said = []
    assert runtime.files(said.append, [broken, place(FILES)]) == FILES
    assert said == ["broken: no network"]


def test_the_folder_is_the_one_that_the_environment_names(lock, monkeypatch, tmp_path):
    (tmp_path / "one.whl").write_bytes(b"first")
    monkeypatch.setenv(runtime.FOLDER, str(tmp_path))
    assert list(runtime._folder({*FILES})) == [("one.whl", b"first")]
    monkeypatch.delenv(runtime.FOLDER)
    assert list(runtime._folder({*FILES})) == []


def test_without_any_file_there_is_nothing_on_the_site_and_one_line_says_so(lock, monkeypatch):
    monkeypatch.setattr(runtime, "_registries", place({}, "_registries"))
    said = []
    assert runtime.files(said.append, [runtime._folder, runtime._registries]) is None
    assert said == ["no Run on the site: one.whl and 1 files more could not be had; PYODIDE_FOLDER may name a folder that has them"]


def test_a_site_can_do_without_the_decoder(lock, monkeypatch):
    monkeypatch.setitem(runtime.LOCK["files"], runtime.DECODER, hashlib.sha256(b"decoder").hexdigest())
    said = []
    assert runtime.files(said.append, [place(FILES)]) == FILES and said == []
    assert runtime.files(said.append, [place({runtime.DECODER: b"decoder"})]) == FILES | {runtime.DECODER: b"decoder"}


# ---- What is taken of them ----


def test_tests_stubs_and_records_are_left_out():
    names = ["numpy/tests/test_a.py", "numpy/a.pyi", "numpy-1.dist-info/RECORD", "numpy/a.py", "numpy-1.dist-info/licenses/LICENSE.txt"]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for name in names:
            opened.writestr(name, "x = 1")
    assert sorted(runtime._unpacked(made.getvalue())) == ["numpy-1.dist-info/licenses/LICENSE.txt", "numpy/a.py"]


def test_an_edit_that_finds_nothing_is_refused():
    tree = {"a/one.py": b"x = 1\nx = 1\n", "a/two.py": b"y = 1\n"}
    runtime._edit(tree, "a/(one|two).py", r" = 1\n", " = 2\n")
    assert tree == {"a/one.py": b"x = 2\nx = 2\n", "a/two.py": b"y = 2\n"}
    with pytest.raises(ValueError, match="must hold x = 1"):
        runtime._edit(tree, "a/one.py", "x = 1", "x = 3")
    with pytest.raises(ValueError, match="must have a/three"):
        runtime._edit(tree, "a/three.py", "x", "y")


@pytest.mark.parametrize("pack", [runtime._archive, runtime._tar])
def test_an_archive_of_the_same_files_has_the_same_bytes(pack):
    assert pack({"b": b"2", "a": b"1"}) == pack({"a": b"1", "b": b"2"})


def test_a_part_is_put_where_python_finds_it(tmp_path, monkeypatch):
    browser = readers_page()
    monkeypatch.setattr(browser, "SITE", str(tmp_path))
    deep = "/".join(["folder"] * 14)
    tree = {"a.py": b"x = 1", f"{deep}/a_module_with_a_name.py": b"y" * 512, "empty/__init__.py": b"", "large.bin": bytes(range(256)) * 5}
    browser.installed("numpy", zlib.decompress(runtime._tar(tree)))
    assert {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == tree


def test_byte_code_is_imported_from_memory(tmp_path, monkeypatch):
    browser = readers_page()
    monkeypatch.setattr(browser, "SITE", str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [browser._InMemory(), *sys.meta_path])

    def byte_code(text, file):
        return bytes(16) + marshal.dumps(compile(text, str(tmp_path / file), "exec"))

    source = "def two():\n    return 2\n"
    browser.installed("numpy", zlib.decompress(runtime._tar({
        "unwritten/__init__.pyc": byte_code("from .inner import one", "unwritten/__init__.py"), "unwritten/inner.pyc": byte_code("one = 1", "unwritten/inner.py"),
        "written/__init__.py": b"", "written/__pycache__/__init__.cpython-314.pyc": byte_code("", "written/__init__.py"),
        "written/part.py": source.encode(), "written/__pycache__/part.cpython-314.pyc": byte_code(source, "written/part.py")})))
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["__init__.py", "part.py"]
    unwritten, part = importlib.import_module("unwritten"), importlib.import_module("written.part")
    assert unwritten.one == 1 and unwritten.__path__ == [str(tmp_path / "unwritten")]
    assert part.two() == 2 and part.__file__ == str(tmp_path / "written/part.py") and inspect.getsource(part.two) == source
    for name in ("unwritten", "unwritten.inner", "written", "written.part"):
        monkeypatch.delitem(sys.modules, name)


def test_what_a_kept_memory_has_not_is_fetched_when_it_is_imported(tmp_path, monkeypatch):
    browser, asked = readers_page(), []
    monkeypatch.setattr(browser, "SITE", str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])

    class Given(bytes):
        def to_bytes(self):
            return self

    def fetched(part):
        asked.append(part)
        return Given(runtime._tar({"unforeseen.pyc": bytes(16) + marshal.dumps(compile("x = 1", "unforeseen.py", "exec"))}))

    browser.keep(["colorsys"], ["numpy"], ["unforeseen"])
    browser.lazily(fetched)
    assert "colorsys" in sys.modules
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("numpy.nothing")
    assert asked == []
    assert importlib.import_module("unforeseen").x == 1 and asked == ["rest"]
    monkeypatch.delitem(sys.modules, "unforeseen")


def test_python_s_own_archive_is_not_read_again_for_a_part(tmp_path, monkeypatch):
    class Archive:
        def invalidate_caches(self):
            raise AssertionError("it was read again")

    browser = readers_page()
    monkeypatch.setattr(browser, "SITE", str(tmp_path))
    monkeypatch.setitem(sys.path_importer_cache, str(tmp_path / "python.zip"), Archive())
    browser.installed("numpy", zlib.decompress(runtime._tar({"a.py": b""})))


def test_what_cannot_be_compiled_stays_as_it_is_and_is_not_kept(lock, monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "_node", lambda: None)
    said = []
    made = runtime._part("numpy", {"numpy/a.py": b"x = 1"}, {}, said.append)
    assert made == runtime._tar({"numpy/a.py": b"x = 1"})
    assert said == ["Python starts more slowly in the browser: Node is not there"] and not list(tmp_path.rglob("part-*"))


# ---- What a page says ----

FRONT = "---\njupyter:\n  kernelspec: {name: python3, language: python, display_name: Python 3}\n---\n"


def page_of(*cells):
    return Page.parse(FRONT + "".join(f"\n```python\n{cell}\n```\n" for cell in cells))


def note(reads="", binds="", changes=""):
    return {"reads": reads.split(), "binds": binds.split(), "changes": changes.split(), "settings": False, "seconds": 0.0}


PAGE = page_of("import math\na = [1]\nb = 5", "a.append(2)", "c = math.fsum(a)\nc", "from concurrent.futures import Executor")
NOTES = [note(binds="math"), note(binds="a"), note(binds="b"), note("a", changes="a"), note("math a", "c"), note("c"), note(binds="Executor")]


def test_a_page_says_what_each_block_needs():
    told = runtime.described(PAGE, NOTES)
    assert [block["needs"] for block in told["blocks"]] == [[], [1], [0, 1, 3], []]
    assert [block["first"] for block in told["blocks"]] == [0, 3, 4, 6]
    assert [statement["rests"] for statement in told["statements"]] == [[], [], [], [1], [0, 1, 3], [4], []]
    assert told["blocks"][3]["native"] == ["concurrent"] and "native" not in told["blocks"][2]


def test_what_statements_rest_on_is_what_their_blocks_need():
    every = statements(PAGE, NOTES)
    rests = direct(every)

    def closure(left):
        found = set(left)
        while left:
            left = [n for at in left for n in rests[at] if n not in found]
            found |= set(left)
        return found

    for index, copy in copies(PAGE, NOTES).items():
        own = [n for n, statement in enumerate(every) if statement.block == index]
        assert closure([n for at in own for n in rests[at]]) - set(own) == set(copy.taken)


def test_a_built_page_has_it_once_and_breaks_nothing():
    page = page_of("a = '</script>'\na")
    made = runtime.attached("<article></article>", page, [note(binds="a"), note("a")], {"assets/python/x/numpy.tar.zlib": b"1", "assets/python/x/katex.js": b"22"}, "../")
    assert "</script>" not in made
    told = json.loads(made.split('id="python">')[1].split("</template>")[0])
    assert told["base"] == "../assets/python/x/" and told["sizes"] == {"numpy.tar.zlib": 1}


# ---- What runs ----


@pytest.fixture
def opened(monkeypatch):
    """A page as a reader's worker has it, and what it gave."""
    module = readers_page()
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def open_page(page, notes):
        told = runtime.described(page, notes)
        for block in told["blocks"]:
            block["code"] = page.blocks[block["block"]].text if block["cell"] else runtime.code(page.blocks[block["block"]])
        out = []
        shown = module.Page(told["blocks"], told["statements"], lambda kind, value: kind != "needs" and out.append((kind, value)))

        def run(index, edits=()):
            out.clear()
            return shown.run(index, dict(edits)), [value["text/plain"] if kind == "data" else value for kind, value in out]

        return run, shown

    return open_page


LOUD = page_of("print('one')\na = [1]", "print('two')\na.append(2)\na", "print('three')\nb = a + [3]\nb", "a = [9]")
NOTES_LOUD = [note(), note(binds="a"), note(), note("a", changes="a"), note("a"), note(), note("a", "b"), note("b"), note(binds="a")]


def test_a_block_runs_behind_what_it_needs_and_shows_only_its_own(opened):
    run, _ = opened(LOUD, NOTES_LOUD)
    assert run(2) == (True, ["three\n", "[1, 2, 3]"])


def test_what_has_run_is_not_run_again(opened):
    run, shown = opened(LOUD, NOTES_LOUD)
    run(0), run(1)
    assert shown.plan(2) == []
    assert run(2) == (True, ["three\n", "[1, 2, 3]"])


def test_a_block_gives_the_same_in_any_order_and_again(opened):
    run, _ = opened(LOUD, NOTES_LOUD)
    first = [run(index)[1] for index in range(4)]
    for index in (3, 2, 1, 1, 0, 2, 3, 1, 2, 2):
        assert run(index)[1] == first[index]


def test_an_edit_reaches_what_rests_on_it(opened):
    run, _ = opened(LOUD, NOTES_LOUD)
    assert run(2)[1][-1] == "[1, 2, 3]"
    edits = {0: "a = [7]"}
    assert run(2, edits)[1][-1] == "[7, 2, 3]"
    assert run(1, edits)[1][-1] == "[7, 2]"
    assert run(0, edits) == (True, [])
    assert run(2, edits)[1][-1] == "[7, 2, 3]"
    assert run(2)[1][-1] == "[1, 2, 3]"  # taken back


def test_an_edited_block_finds_names_that_it_had_not_read(opened):
    run, _ = opened(PAGE, NOTES)
    assert run(1, {1: "print(b, math.pi > 3)"}) == (True, ["5 True\n"])


def test_an_import_does_not_undo_an_edit(opened):
    page = page_of("from math import sqrt", "sqrt(4.0)", "from math import sqrt\nsqrt(9.0)")
    notes = [note(binds="sqrt"), note("sqrt"), note(binds="sqrt"), note("sqrt")]
    run, _ = opened(page, notes)
    edits = {0: "def sqrt(x):\n    return 'mine'"}
    assert run(1, edits) == (True, ["'mine'"]) and run(2, edits) == (True, ["3.0"]) and run(1, edits) == (True, ["'mine'"])


def test_a_traceback_begins_at_the_reader_s_code(opened):
    run, _ = opened(LOUD, NOTES_LOUD)
    good, (said,) = run(3, {3: "def f():\n    return 1 / 0\n\nf()"})
    assert not good and "ZeroDivisionError" in said and "return 1 / 0" in said and "page.py" not in said
    good, (said,) = run(3, {3: "a = ("})
    assert not good and "SyntaxError" in said and "a = (" in said


def test_an_error_in_what_a_block_needs_says_where(opened):
    run, _ = opened(LOUD, NOTES_LOUD)
    good, (said,) = run(2, {0: "a = nothing"})
    assert not good and said.startswith("In an earlier block that you have edited") and "NameError" in said


def test_examples_print_what_each_shows(opened):
    page = Page.parse(FRONT + "\n```pycon\n>>> a = 2\n>>> a\n2\n>>> a / 0\nTraceback (most recent call last):\nZeroDivisionError: division by zero\n>>> 'x'\n'x'\n\n```\n")
    run, _ = opened(page, [note(binds="a"), note("a"), note("a"), note()])
    assert run(0) == (True, ["2\n", "ZeroDivisionError: division by zero\n", "'x'\n"])
    assert run(0, {0: "a = 3\na\n[a]"}) == (True, ["3\n[3]\n"])
    good, (said,) = run(0, {0: "a = 3\n\nnone"})
    assert not good and "In this page's code, line 3" in said and "none" in said


def test_what_is_printed_without_end_is_cut(opened):
    run, _ = opened(LOUD, NOTES_LOUD)
    said = "".join(run(3, {3: "for _ in range(100):\n    print('x' * 10_000)"})[1])
    assert len(said) < 250_000 and said.endswith("which is not shown\n")
