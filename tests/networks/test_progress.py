"""Bars of progress: shown on a terminal only."""

import io
import sys

import pytest

from reference_impl.networks.progress import Silent, bar


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["no standard error", "no terminal"])
def test_without_a_terminal_or_any_standard_error_there_is_no_bar(stream, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    with bar(3) as shown:
        shown.update()
    assert isinstance(shown, Silent) and (stream is None or stream.getvalue() == "")
