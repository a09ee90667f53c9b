"""Everything that ``uxo weights fetch`` brings: what it is told to, or what the settings name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from deployments.commands.words import remarks
from deployments.commands.work import one_line
from deployments.settings import read_settings
from models.fetching import NotFetched, fetch_classifier, fetch_weights, open_hub
from models.hub import hub_id_of
from models.loading import TINY


def fetch_all(weights: str | None, models: tuple[str, ...], *, pins: Sequence[str]) -> Path:
    """Bring weights, and where none are named also the classifier that the settings name; return the weights' folder.

    Raises:
        typer.Exit: when something cannot be brought; why is printed.
    """
    revisions = _revisions(pins)
    classifier = ""
    if weights is None:
        weights, classifier = _named()
    try:
        hub = open_hub()
        if classifier:
            fetch_classifier(classifier, hub=hub, say=remarks.print)
        return fetch_weights(weights, models, hub=hub, pins=revisions, say=remarks.print)
    except NotFetched as error:
        remarks.print(str(error), style="red")
        raise typer.Exit(1) from error


def _named() -> tuple[str, str]:
    """Return the weights that the settings name, and the classifier where it is a hub id."""
    with one_line():
        settings = read_settings()
    model = settings.safety_model or ""
    if settings.weights == TINY:
        raise typer.BadParameter("name a folder or a hub id, here or in UXO_WEIGHTS")
    return settings.weights, model if hub_id_of(model) else ""


def _revisions(pins: Sequence[str]) -> Mapping[str, str]:
    named = {pin: hub_id_of(pin) for pin in pins}
    revisions = {found[0]: found[1] for found in named.values() if found and found[1]}
    if len(revisions) < len(pins):
        raise typer.BadParameter("a pin is owner/name@revision, once for each repository")
    return revisions
