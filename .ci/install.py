"""Run ``pip install`` with one line of progress instead of a page, and all it said when it fails.

Uses the standard library alone, because it runs before anything is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import time
from urllib.parse import unquote

#: What pip calls the steps that take long.
STEPS = ("Collecting ", "Downloading ", "Building ", "Installing ")
#: Columns a progress line may take.
WIDTH = 78
#: Columns of it for what pip is at; the rest is for the count and the time.
NEWS_WIDTH = 52


def main() -> int:
    """Install what the arguments say; return pip's exit code."""
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    pip = subprocess.Popen(  # noqa: S603 -- the arguments come from our own Makefile
        [*command, *sys.argv[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = follow(pip)
    if pip.wait():
        sys.stdout.writelines(["\n", *said[-20:]])
    return pip.returncode


def follow(pip: subprocess.Popen[str]) -> list[str]:
    """Show what pip is at while it runs; return everything it said."""
    started, said, packages, shown = time.monotonic(), [], 0, 0.0
    for line in pip.stdout or ():
        said.append(line)
        packages += line.startswith("Collecting ")
        is_due = time.monotonic() - shown > (0 if sys.stdout.isatty() else 10)
        if line.lstrip().startswith(STEPS) and is_due:
            shown = time.monotonic()
            show(f"{packages:4} packages  {shown - started:4.0f} s  {news_of(line)}")
    show(f"{packages:4} packages  {time.monotonic() - started:4.0f} s  pip has ended")
    sys.stdout.write("\n" if sys.stdout.isatty() else "")
    return said


def news_of(line: str) -> str:
    """Return what pip does and to which package, from a line that starts with one of the ``STEPS``."""
    verb, _, rest = line.strip().partition(" ")
    if verb == "Downloading":  # a wheel's file name or address, then its size
        name = unquote(rest.partition(" ")[0].rpartition("/")[2])
        what = "-".join(name.split("-")[:2])
    elif verb == "Collecting":  # a requirement, then who requires it
        what = re.split(r"[^\w.-]", rest)[0]
    else:  # what for, then a list or how it went
        what = re.split(r"[:(]", rest)[0]
    return textwrap.shorten(f"{verb} {what}", NEWS_WIDTH - 1, placeholder="", break_on_hyphens=False) + "…"


def show(text: str) -> None:
    """Write one line; on a terminal over the last one."""
    start, end = ("\r", "") if sys.stdout.isatty() else ("", "\n")
    sys.stdout.write(f"{start}{text:{WIDTH}}{end}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
