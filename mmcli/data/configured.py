"""The options of each column's modality: defaults, what a pretrained encoder wants, the config file, flags. Knows no cells."""

from __future__ import annotations

from typing import Any

from mmcli import registry
from mmcli.config.settings import Settings
from mmcli.data import faces
from mmcli.data.schema import Schema
from mmcli.errors import ConfigError, unknown
from mmcli.options.preprocess import Options


def modality_configs(found: Schema, options: Options, settings: Settings) -> dict[str, Any]:
    """Column -> the options of its modality: defaults, what a pretrained encoder wants, the config file, flags."""
    for unused in sorted(set(options.modality_options) - {item.modality for item in found.columns}):
        flags = ", ".join(options.modality_options[unused])
        raise ConfigError(f"the option {flags} is for {unused} columns, the table has none", "Leave it out.")
    settings.refuse_unused("modalities", [item.modality for item in found.columns], "preprocess")
    taken, own = _taken_over(found, options, settings), settings.for_stage("preprocess")
    detectors = faces.with_detectors(found, options)
    configs = {}
    for item in found.columns:
        config = own.part("modalities", item.modality, **{**item.options, **taken.get(item.name, {})})
        said = {**options.modality_options.get(item.modality, {})}
        if options.roles.keep_na and "missing_words" in type(config).model_fields:
            said["missing_words"] = False
        if item.name in detectors:
            said["detector"] = detectors[item.name]
        configs[item.name] = type(config)(**{**config.model_dump(), **said})
    for reader, owner in found.shares.items():
        if configs[reader] != configs[owner]:
            raise ConfigError(
                f"{reader!r} and {owner!r} share an encoder, but are to be preprocessed in two ways", "Say the same of both."
            )
    return configs


def _taken_over(found: Schema, options: Options, settings: Settings) -> dict[str, dict[str, Any]]:
    """Column -> the options of its modality that a pretrained encoder wants.

    Raises:
        ConfigError: there is no such column or kind of column, the encoder is for another kind, or a flag contradicts it.
    """
    own = settings.for_stage("train-encoder")
    wanted: dict[str, dict[str, Any]] = {}
    for name, encoder in options.encoders.items():
        columns = [item for item in found.columns if name in {item.name, item.modality}]
        if not columns:
            known = {part for item in found.columns for part in (item.name, item.modality)}
            raise ConfigError(f"--for {name}={encoder}: {unknown('column or modality', name, known)}")
        registry.trust(encoder)
        kind = registry.load("encoders", encoder)
        wants = kind.preprocessing(own.part("encoders", encoder))
        for item in columns:
            if item.modality not in wants:
                what = f"is for {' and '.join(wants)}" if wants else "wants no preprocessing of its own"
                raise ConfigError(
                    f"--for {name}={encoder}: column {item.name!r} is {item.modality}, the encoder {what}",
                    "--for is for pretrained networks, e.g. --for image=timm:resnet18; the encoder is chosen later: mmcli "
                    "train-encoder --arch.",
                )
            said = options.modality_options.get(item.modality, {})
            for option, value in wants[item.modality].items():
                if option in said and said[option] != value:
                    raise ConfigError(
                        f"--for {name}={encoder} wants {option} = {value}, a flag says {said[option]}", "Drop one."
                    )
            wanted[item.name] = wants[item.modality]
    return wanted
