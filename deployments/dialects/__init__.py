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


def open_dialects(*, aliases: Mapping[str, str], fal_hosts: Mapping[str, str]) -> Mapping[str, Dialect]:
    """Return the dialects by name, with an operator's own names for models and hosts.

    Args:
        aliases: names that callers use, such as ``luma:uni@1``, and the catalog name of the model that answers to each.
        fal_hosts: host names, and for which of fal's each stands: ``run``, ``queue``, ``rest`` or ``cdn``.
    """
    return {**DIALECTS, Runware.name: Runware(aliases), Fal.name: Fal(fal_hosts)}
