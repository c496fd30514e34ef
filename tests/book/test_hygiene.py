"""What a page's text may not hold, whatever it says."""

from pathlib import Path

import pytest
from book import hygiene

SOUND = """---
title: <b>Sound</b>
---
# Sound {: #sound }

## A `<div>` in code

## With $\\kappa<\\rho$ and *stress*

<div class="a > b" markdown>

For $a<b$, $$ i<j>k $$ and <https://example.org>, `</p>`, 3 < 4, <br> and <img src="x" alt=""/>. <!-- <p> -->

</div>

<details>
<summary>More</summary>
``` text
<div>
{: #sound }
```
</details>

    ```python
    "<span>"
    ```

Eins, zwei, 하나, 10\u202f000, 10\u00a0m, v̂, “so” – é.
"""


def faults(text: str) -> list[str]:
    return hygiene.faults(text, Path("page.md"))


def test_a_sound_page():
    assert faults(SOUND) == []


@pytest.mark.parametrize(("text", "found"), [
    ("# A {#x}\n\n## B {: #x .y }", ["3: the id 'x' is that of line 1 already"]),
    ("# A {#b-c}\n\n## B *c*", ["3: this heading's own id 'b-c' is that of line 1: give one of them another"]),
    ("# B c\n\n## D {#b-c}", ["1: this heading's own id 'b-c' is that of line 3: give one of them another"]),
    ('# B\n\n<div class="x" id="b">\n</div>', ["1: this heading's own id 'b' is that of line 3: give one of them another"]),
    ("# B\n\nText.\n{: #b }", ["1: this heading's own id 'b' is that of line 4: give one of them another"]),
    ("# Question 1", ["1: this heading's own id 'question-1' is one that the book gives by itself: give it another, `{: #name }`"]),
    ("# A {#figure-2}", ["1: the id 'figure-2' is one that the book gives by itself: take another"]),
    ("a\n\n<div>\n\nb", ["3: <div> is never closed"]),
    ("a\n\n<div>\n\n<p>b</div>\n", ["5: <p> is not closed before </div> closes what it stands in"]),
    ("<b>a<i>b</b>c</i>", ["1: <i> is not closed before </b> closes what it stands in"]),
    ("a</div>", ["1: </div> closes nothing"]),
    ("a\n<div class=x\n\nb", ["2: <div is never ended: put `>` behind it"]),
    ("a <!-- b\n\nc", ["1: this comment is never closed: put `-->` behind it"]),
    ("a\n\n```text\nx\u200b\n```", ["4: an invisible character, U+200B (zero width space): remove it"]),
    ("---\ntitle: a\u2066b\n---\n", ["2: an invisible character, U+2066 (left-to-right isolate): remove it"]),
    ("a\tb", ["1: an invisible character, U+0009 (a control character): remove it"]),
    ("a\u3164b\ufe0f", ["1: an invisible character, U+3164 (hangul filler): remove it", "1: an invisible character, U+FE0F (variation selector-16): remove it"]),
    ("a\u2028b", ["1: an invisible character, U+2028 (line separator): remove it"]),
    ("a\ufeffb\u00ad", ["1: an invisible character, U+FEFF (zero width no-break space): remove it", "1: an invisible character, U+00AD (soft hyphen): remove it"]),
])  # fmt: skip
def test_a_fault(text, found):
    assert faults(text) == [f"page.md:{fault}" for fault in found]
