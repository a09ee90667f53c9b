"""The Dockerfile, as its linter reads it; ``.ci/helm`` installs that."""

from __future__ import annotations

import subprocess
from pathlib import Path

from missing_service import give_up

ROOT = Path(__file__).parents[2]
HADOLINT = ROOT / "var" / "helm" / "environment" / "bin" / "hadolint"


def test_the_linter_has_no_complaint() -> None:
    """Hadolint finds nothing, hints of style too."""
    if not HADOLINT.exists():
        give_up("hadolint is not installed; .ci/helm installs it")

    ended = subprocess.run([str(HADOLINT), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)

    assert (ended.stdout, ended.returncode) == ("", 0)


def test_the_image_of_the_http_side_has_no_torch() -> None:
    """Only the engine's packages are installed with the extra that brings PyTorch."""
    _, *stages = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")
    by_name = {stage.splitlines()[0].split()[-1]: stage for stage in stages}

    assert [name for name, stage in by_name.items() if "[engine]" in stage] == ["built-engine"]
    assert "--from=built-gateway" in by_name["gateway"]
