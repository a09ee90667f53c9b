"""The test of the house itself: what every file here keeps to, and that the README's map shows the house as it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What is built from this source; tests are held to their own rules by ruff.
FLOORS = ["deployments", "models", "loadtest"]
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_NESTING, MAX_ARGUMENTS = 400, 60, 3, 6
#: Words that name everything and so nothing.
EMPTY_WORDS = frozenset(
    {"util", "utils", "helper", "helpers", "common", "misc", "manager", "handler", "processor", "data", "info", "base"}
)
#: Classes that carry such a word because a library calls the thing so.
LIBRARY_NAMES: frozenset[str] = frozenset()
#: Other places on the machine that this was written on; nobody else has them.
ELSEWHERE = re.compile(r"\.\./shared|/work/(?:main|shared)|/roo[t]/|/home/(?!ray/)[a-z]+/")
FOLDER_OF_MAP = "uxo-serve/"
#: Folders whose every entry stands in the map.
MAPPED = ["deployments", "models"]

Function = ast.FunctionDef | ast.AsyncFunctionDef
# What goes one of several ways or round again; a with block goes one way, however many things it holds open.
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.Match)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def ignored_names() -> list[str]:
    """Return the names that git is told to leave out, and its own."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    return [".git", *(line.rstrip("/") for line in lines if line and not line.startswith("#"))]


IGNORED = ignored_names()


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every file that git would keep."""
    for path in sorted(folder.iterdir()):
        if any(fnmatch(path.name, name) for name in IGNORED):
            continue
        if path.is_dir():
            yield from files_below(path)
        else:
            yield path


FILES = list(files_below(ROOT))
MODULES = [path for path in FILES if path.suffix == ".py"]
BUILT = [path for path in MODULES if path.relative_to(ROOT).parts[0] in FLOORS]


def name_of(path: Path) -> str:
    """Write a path as people here do."""
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    """Read a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


def functions_of(path: Path) -> list[Function]:
    """Return every function of a module, those inside others too."""
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, Function)]


def nesting_of(node: ast.AST) -> int:
    """Count the branches and loops inside one another; inner functions start anew, and elif stands beside its if."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _SCOPES):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        deepest = max(deepest, nesting_of(child) + (isinstance(child, _BLOCKS) and not is_elif))
    return deepest


def arguments_of(function: Function) -> int:
    """Count what a caller has to know of: everything but self and cls."""
    arguments = function.args
    named = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in named if name not in {"self", "cls"}])


def lines_of(function: Function) -> int:
    """Count the lines of a function from its ``def`` to its end."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def words_of(name: str) -> set[str]:
    """Take a name apart, however it is put together."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*", name)}


def lines_of_map() -> list[str]:
    """Return what the README's map says below its first line."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^```\w*\n{FOLDER_OF_MAP}[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"README.md has no fenced block that begins with {FOLDER_OF_MAP}"
    return found[1].splitlines()


def paths_of_map(lines: Sequence[str]) -> list[str]:
    """Return the paths a map shows; a line further in than its place in the tree goes on with the one before."""
    parents: list[str] = []
    paths = []
    for line in filter(str.strip, lines):
        depth = (len(line) - len(line.lstrip())) // 2
        if not 1 <= depth <= len(parents) + 1:
            continue
        parents = [*parents[: depth - 1], line.split()[0].rstrip("/")]
        paths.append("/".join(parents))
    return paths


def test_there_is_something_to_look_at() -> None:
    """Every floor has modules, so that no test here passes for want of any."""
    assert {path.relative_to(ROOT).parts[0] for path in BUILT} == set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    """Every module begins with a docstring."""
    assert ast.get_docstring(tree_of(path))


@pytest.mark.parametrize("path", BUILT, ids=name_of)
def test_a_module_keeps_its_budgets(path: Path) -> None:
    """Files, functions, blocks and argument lists stay short enough to be read in one go."""
    functions = functions_of(path)

    too_long = [one.name for one in functions if lines_of(one) > MAX_FUNCTION_LINES]
    too_deep = [one.name for one in functions if nesting_of(one) > MAX_NESTING]
    too_many = [one.name for one in functions if arguments_of(one) > MAX_ARGUMENTS]

    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    assert (too_long, too_deep, too_many) == ([], [], [])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_names_say_something(path: Path) -> None:
    """No file, folder or class is named with a word that could name any."""
    classes = [node.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
    names = [*path.relative_to(ROOT).with_suffix("").parts, *classes]

    empty = [name for name in names if name not in LIBRARY_NAMES and words_of(name) & EMPTY_WORDS]

    assert empty == []


def test_nothing_refers_to_the_machine_it_was_written_on() -> None:
    """No text here names a place that only its writers have."""
    found = []
    for path in FILES:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture or a tensor
            continue
        found += [f"{name_of(path)}: {match[0]}" for match in ELSEWHERE.finditer(text)]

    assert found == []


def test_the_map_shows_nothing_that_is_not_there() -> None:
    """Every path of the README's map exists, and stands there once."""
    paths = paths_of_map(lines_of_map())

    missing = [path for path in paths if not (ROOT / path).exists()]

    assert missing == []
    assert len(paths) == len(set(paths))


def test_the_map_leaves_nothing_out() -> None:
    """The map names every entry of the root but the README and hidden ones, and all that lies in its main folders."""
    kept = [path.relative_to(ROOT).parts for path in FILES]
    top = {parts[0] for parts in kept} - {"README.md"}
    inside = {"/".join(parts[:2]) for parts in kept if parts[0] in MAPPED and parts[1] != "__init__.py"}

    left_out = {path for path in top | inside if not path.startswith(".")} - set(paths_of_map(lines_of_map()))

    assert left_out == set()


def test_a_map_is_read_by_its_indentation() -> None:
    """Two blanks are one level; a line that is further in than it can be goes on with the one before."""
    lines = [
        "  a/      things",
        "    b.py  one",
        "            and more of it",
        "    c/    two",
        "      d.py",
        "",
        "  e.py",
    ]

    assert paths_of_map(lines) == ["a", "a/b.py", "a/c", "a/c/d.py", "e.py"]


def test_depth_is_counted_as_people_see_it() -> None:
    """Loops and branches inside one another count; elif, with and what a function inside does are no deeper."""
    flat = "def f():\n if a: pass\n elif b: pass\n elif c:\n  for x in y: pass"
    inner = "def f():\n if a:\n  def g():\n   with h: pass"
    deep = "def f():\n for x in y:\n  if x:\n   with z:\n    while a:\n     try: pass\n     finally: pass"

    depths = [nesting_of(ast.parse(code).body[0]) for code in (flat, inner, deep)]

    assert depths == [2, 1, 4]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("UxoAttnProcessor", {"uxo", "attn", "processor"}),
        ("HTTPInfo", {"http", "info"}),
        ("request_json", {"request", "json"}),
        ("metadata", {"metadata"}),
        ("ReadBase64", {"read", "base64"}),
    ],
)
def test_a_name_is_taken_apart(name: str, words: set[str]) -> None:
    """A name falls into the words that a reader sees in it."""
    assert words_of(name) == words
