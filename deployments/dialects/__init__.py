"""Every dialect this service speaks; a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from deployments.dialects.dialect import Dialect
from deployments.dialects.wavespeed import WaveSpeed

#: The dialects by name.
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        WaveSpeed.name: WaveSpeed(),
    }
)
