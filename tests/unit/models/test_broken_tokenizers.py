"""Tokenizers that bring code are found before they are asked for a token."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from weights_folder import write_folder

#: Loads a folder of small weights in a process of its own, whose terminal somebody may type at.
LOAD = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from weights_folder import SMALL
from models.flux.weights import WeightsError
from models.flux.weights.layouts import Layouts
from models.flux.weights.released import Released
try:
    Released(Path(sys.argv[1]), device="cpu", layouts=Layouts(SMALL)).components(["uno"])
except WeightsError as error:
    print(error)
"""


def test_a_tokenizers_code_is_not_run(tmp_path: Path) -> None:
    """A tokenizer that brings code is refused, whatever is typed where transformers would ask."""
    folder = write_folder(tmp_path)
    settings = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}}
    (folder / "tokenizer/tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "tokenizer/own.py").write_text("raise SystemExit('this ran')\n")
    words = [sys.executable, "-c", LOAD, str(folder), *sys.path]

    ended = subprocess.run(words, input="y\n", capture_output=True, text=True, check=False, timeout=120)

    assert "this ran" not in ended.stderr
    assert ended.stdout.startswith("tokenizer cannot be read as a tokenizer: ")
