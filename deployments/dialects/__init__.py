"""Every dialect this service speaks; a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from deployments.dialects.aiml import Aiml
from deployments.dialects.dialect import Dialect
from deployments.dialects.fal import Fal
from deployments.dialects.kserve.kserve import Kserve
from deployments.dialects.runware.runware import Runware
from deployments.dialects.wavespeed import WaveSpeed

#: The dialects by name.
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        WaveSpeed.name: WaveSpeed(),
        Fal.name: Fal(),
        Aiml.name: Aiml(),
        Runware.name: Runware(),
        Kserve.name: Kserve(),
    }
)
