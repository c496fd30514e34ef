"""How a reader installs the package: by one line, from the site itself, with its own address."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from book import wheel

LOCAL = "http://127.0.0.1:8000/"  # where a site is looked at that was built for no address
MARK = re.compile(r"\{\{ (install|needs)((?: \w+)*) \}\}")


def prepare(config: MkDocsConfig) -> None:
    """Build the wheel, and tell the theme the line (`extra.install.line`) and the address that it names."""
    try:
        name, _ = wheel.wheel()
    except (OSError, RuntimeError) as error:
        raise PluginError(str(error)) from None
    config.extra["install"] |= {"address": address(config), "line": line(config), "wheel": name}


def add(files: Files, config: MkDocsConfig) -> None:
    """Put the wheel among the site's files."""
    name, content = wheel.wheel()
    files.append(File.generated(config, name, content=content))


def address(config: MkDocsConfig) -> str:
    """The site's address, with a slash at its end: the configured one; under `mkdocs serve` the local one."""
    return config.site_url or LOCAL


def line(config: MkDocsConfig, *more: str) -> str:
    """The command that installs the package, with the extras that all pages together need, and `more`."""
    extras = ",".join([*config.extra["install"]["extras"], *more])
    return f'pip install "descent-derived[{extras}] @ {address(config)}{quote(wheel.wheel()[0])}"'


def put(markdown: str, config: MkDocsConfig) -> str:
    """A page's Markdown with the line in the place of `{{ install }}`, or `{{ install gpu }}`, and what it takes in that of `{{ needs }}`."""

    def found(mark: re.Match[str]) -> Any:
        return line(config, *mark[2].split()) if mark[1] == "install" else config.extra["install"]["needs"]

    return MARK.sub(found, markdown)
