"""Transformers of Hugging Face by name or folder, with the extra `hub`: `hf:sentence-transformers/all-MiniLM-L6-v2`, `hf:DIR`.

Text (BERT and its kin), waveforms (wav2vec 2.0, HuBERT, WavLM), sound through a log-mel of its own (the encoder of Whisper),
pictures (ViT, DINOv2) and clips (VideoMAE). Weights are those that lie beside the config, as safetensors; `--weights none`
starts at random. `mmcli preprocess --for text=hf:NAME` takes over its tokenizer, or its size and normalisation; with `convert`
the column stays as it is, and the encoder tokenises, or rescales, what it holds.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from mmcli.encoders import Backbone
from mmcli.errors import ConfigError
from mmcli.layers.blocks import masked_mean
from mmcli.layers.ngrams import spelt
from mmcli.pretrained import conversion, hub
from mmcli.pretrained import weights as pretrained
from mmcli.pretrained.config import BackboneConfig
from mmcli.signals import Column, Kind, Signal, SignalSpec, Source

TRAINING = {"epochs": 15, "learning_rate": 3e-4, "batch_size": 16, "weight_decay": 0.05, "patience": 5}
VARIANT = "model"
_NEVER_CUT = frozenset({"mpnet", "wavlm", "whisper"})
"""Whose later blocks want more than the states of the one before: places that the first makes, or lengths."""
_KIND_OF_INPUT: dict[str, tuple[Kind, str]] = {
    "input_ids": ("ids", "text"),
    "input_values": ("sequence", "audio"),
    "input_features": ("sequence", "audio"),
    "pixel_values": ("grid", "image"),
    "pixel_values_videos": ("clip", "video"),
}


class Config(BackboneConfig):
    """Which network."""

    weights: str = "default"
    """`default`: those beside its config; `none`: random; or the path of a safetensors file."""
    model: str = ""
    """A name on the hub, or a folder with config.json and model.safetensors."""
    definition: dict[str, Any] = Field(default_factory=dict)
    """What its config.json says: filled in from there."""


class Hf(Backbone):
    """Ids [T], a waveform in pieces [T, samples], grid [3, H, W] or clip [T, 3, H, W] -> the last hidden states, their mean."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"ids", "sequence", "grid", "clip"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        if spec.kind not in self.kinds:
            super().__init__(config, spec, nn.Identity(), 1)
        config = self.resolve(config)
        body = _body(config)
        kind, modality = _takes(body, config)
        if kind != spec.kind:
            raise ConfigError(
                f"--arch hf:{config.model} is for {modality} as {kind}, the column is {spec.kind}",
                f"Preprocess for it: mmcli preprocess TABLE --for {shlex.quote(f'{modality}=hf:{config.model}')}"
                if modality == "audio"
                else "Name the columns that it is for: mmcli train-encoder COL --arch hf:...",
            )
        super().__init__(config, spec, body, _width(config))
        self.config: Config = config
        if config.tune.startswith("last-") and hasattr(body.config, "layerdrop"):
            body.config.layerdrop = 0.0  # blocks that do not train are never skipped, whether they run once or in every epoch
        self.input_name = str(body.main_input_name)
        self.pieces = spec.pieces
        self.tokens: Tensor | None
        """The bytes of its own tokenizer.json, where it tokenises anew."""
        size = config.conversion.get("tokenizer_bytes", 0)
        self.register_buffer("tokens", torch.zeros(size, dtype=torch.uint8) if size else None)
        self._tokenizer: Any = None
        vocabulary = int(config.definition.get("vocab_size", 0))
        if kind == "ids" and not size and spec.vocab_size > vocabulary:
            raise ConfigError(
                f"--arch hf:{config.model} knows {vocabulary} tokens, the column was tokenised into {spec.vocab_size}",
                f"Preprocess for it: mmcli preprocess TABLE --for {shlex.quote(f'text=hf:{config.model}')}",
            )

    @classmethod
    def resolve(cls, config: Config) -> Config:
        """With the definition read from the model's config.json."""
        if config.definition:
            return config
        folder = _folder(config)
        definition = _json(folder / "config.json")
        if not definition.get("model_type"):
            raise ConfigError(f"--arch hf:{config.model}: {folder} has no config.json with a model_type")
        return config.model_copy(update={"definition": definition})

    @classmethod
    def preprocessing(cls, config: Config) -> dict[str, dict[str, Any]]:
        """The tokenizer; or the sample rate; or the size, mean and deviation."""
        config = cls.resolve(config)
        with torch.device("meta"):
            _, modality = _takes(_body(config), config)
        folder = _folder(config)
        if modality == "text":
            tokenizer = folder / "tokenizer.json"
            if not tokenizer.is_file():
                raise ConfigError(
                    f"hf:{config.model} has no tokenizer.json",
                    f"Make one: python -c \"from transformers import AutoTokenizer as T; T.from_pretrained('{folder}')"
                    f".save_pretrained('{folder}')\"",
                )
            longest = int(config.definition.get("max_position_embeddings", 512))
            return {"text": {"tokenizer": str(tokenizer), "special_tokens": True, "max_tokens": min(longest - 2, 256)}}
        wants = _json(folder / "preprocessor_config.json")
        if modality == "audio":
            said = {"sample_rate": int(wants.get("sampling_rate", 16000)), "features": "waveform", "normalize": "none"}
            return {"audio": said}
        size = config.definition.get("image_size", 224)
        same = {"size": int(size[0] if isinstance(size, list) else size), "fit": "crop"}
        same |= {
            "mean": tuple(wants.get("image_mean", (0.485, 0.456, 0.406))),
            "std": tuple(wants.get("image_std", (0.229, 0.224, 0.225))),
        }
        if modality == "video":
            return {"video": {**same, "frames": int(config.definition.get("num_frames", 16))}}
        return {"image": {"normalize": "given", **same}}

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004 - whatever the column
        """What transformers builds from the definition, and the absent embedding."""
        config = Hf.resolve(config)
        with torch.device("meta"):
            body = _body(config)
        return sum(parameter.numel() for parameter in body.parameters()) + _width(config)

    def prepare(self, column: Source) -> Source:
        """With its own tokens, where it tokenises anew."""
        return super().prepare(column if self.tokens is None else self._tokenised(column))

    def preparation(self) -> dict[str, Any] | None:
        return super().preparation() if self.tokens is None else None

    def _tokenised(self, column: Source) -> Column:
        """Ids of its own tokenizer, int32, of the texts that the column's ids spell; a cell that is there has at least one."""
        assert self.tokens is not None
        if self._tokenizer is None:
            data = self.tokens.cpu().numpy().tobytes()
            self._tokenizer = conversion.tokenizer(data, self.config.conversion["max_tokens"])
        here = column.present.tolist()
        texts = [text for text, there in zip(spelt(column, self.pieces, small=False), here, strict=True) if there]
        made = iter(self._tokenizer.encode_batch_fast(texts))
        ids = [next(made).ids or [0] if there else [] for there in here]
        offsets = torch.tensor([0, *map(len, ids)]).cumsum(0)
        values = torch.tensor([i for row in ids for i in row], dtype=torch.int32)
        return Column(values.to(column.present.device), column.present, offsets.to(column.present.device))

    def load(self, weights: str) -> None:
        transformers = _transformers(self.config)
        if self.tokens is not None:
            data = (_folder(self.config) / "tokenizer.json").read_bytes()
            if conversion.of_texts(data, 0)["tokenizer_sha256"] != self.config.conversion["tokenizer_sha256"]:
                raise ConfigError(
                    f"--arch hf:{self.config.model}: its tokenizer.json is another than when training was planned", "Run again."
                )
            self.tokens.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        path = _folder(self.config) if weights == "default" else hub.local(weights)
        if path is None:
            raise ConfigError(f"--weights {weights}: there is no such file or folder")
        if path.is_file() or not (path / "config.json").is_file():
            pretrained.put(pretrained.read(path), self.body, str(path))
            return
        pretrained.read(path)  # says what is wrong with it in our words
        with _quietly(transformers):
            model = transformers.AutoModel.from_pretrained(
                path, local_files_only=True, use_safetensors=True, trust_remote_code=False
            )
        pretrained.put(_encoder_of(model).state_dict(), self.body, str(path))

    def run(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        if self.input_name == "input_ids":
            mask = signal.mask()
            tokens = self.body(input_ids=signal.values.long(), attention_mask=mask.long()).last_hidden_state
        elif self.input_name == "input_values":
            tokens, mask = self._run_waveform(signal)
        elif self.input_name == "input_features":
            tokens, mask = self._run_whisper(signal)
        else:
            states = self.body(**{"pixel_values": signal.values.float()}).last_hidden_state
            tokens = states.flatten(2).transpose(1, 2) if states.dim() == 4 else states
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return masked_mean(tokens, mask), tokens, mask

    @classmethod
    def may_split(cls, config: Config) -> bool:
        return super().may_split(config) and config.definition.get("model_type") not in _NEVER_CUT

    def split(self, column: Source) -> bool:
        """Not the encoder of Whisper, whose every row takes half a minute of states, and real ones are told by its lengths
        alone."""
        return self.input_name != "input_features" and super().split(column)

    def kept_steps(self, lengths: Tensor | None) -> Tensor | None:
        if self.input_name != "input_values" or lengths is None:
            return lengths
        samples = lengths.clamp(min=1) * self.shape[-1]
        steps: Tensor = self.body._get_feat_extract_output_lengths(samples)  # type: ignore[operator]
        return steps.clamp(min=1)

    def blank(self, rows: int, steps: Tensor | None) -> Signal:
        """Ids of zero, or the shortest silence that makes so many states."""
        if steps is None:
            return super().blank(rows, steps)
        present = torch.ones(rows, dtype=torch.bool, device=steps.device)
        if self.input_name == "input_ids":
            return Signal(torch.zeros(rows, int(steps.max()), dtype=torch.int64, device=steps.device), present, steps)
        config: Any = self.body.config
        for kernel, stride in reversed(list(zip(config.conv_kernel, config.conv_stride, strict=True))):
            steps = (steps - 1) * stride + kernel
        return Signal(torch.zeros(rows, int(steps.max()), 1, device=steps.device), present, steps)

    def _run_waveform(self, signal: Signal) -> tuple[Tensor, Tensor]:
        """Each recording brought to mean 0 and deviation 1, as these networks were trained."""
        waves, lengths = _waves(signal)
        real = torch.arange(waves.shape[1], device=waves.device)[None] < lengths[:, None]
        mean = (waves * real).sum(1, keepdim=True) / lengths[:, None]
        deviation = (((waves - mean) * real).square().sum(1, keepdim=True) / lengths[:, None] + 1e-7).sqrt()
        waves = (waves - mean) / deviation * real
        states = self.body(waves, attention_mask=real.long()).last_hidden_state
        steps = self.body._get_feat_extract_output_lengths(lengths)  # type: ignore[operator]
        return states, torch.arange(states.shape[1], device=waves.device)[None] < steps.clamp(min=1)[:, None]

    def _run_whisper(self, signal: Signal) -> tuple[Tensor, Tensor]:
        """Through the log-mel that Whisper was trained with, padded to its 30 seconds; the states of the real part."""
        transformers = _transformers(self.config)
        waves, lengths = _waves(signal)
        bands, longest = self.config.definition["num_mel_bins"], 2 * self.config.definition["max_source_positions"]
        extract = transformers.WhisperFeatureExtractor(feature_size=bands, chunk_length=longest // 100)
        pieces = [wave[: int(n)].cpu().numpy() for wave, n in zip(waves, lengths, strict=True)]
        features = extract(pieces, sampling_rate=16000, return_tensors="pt").input_features.to(waves.device)
        states = self.body(features).last_hidden_state
        steps = (lengths / 320).ceil().clamp(1, states.shape[1])
        return states, torch.arange(states.shape[1], device=waves.device)[None] < steps[:, None]


def _waves(signal: Signal) -> tuple[Tensor, Tensor]:
    """Samples [B, S] and how many of them are real, of pieces [B, T, samples]."""
    assert signal.lengths is not None
    return signal.values.float().flatten(1), signal.lengths.clamp(min=1) * signal.values.shape[2]


def _transformers(config: Config) -> Any:
    return hub.need("transformers", f"--arch hf:{config.model}")


def _folder(config: Config) -> Path:
    if not config.model:
        raise ConfigError("--arch hf wants a name or a folder", "E.g. --arch hf:sentence-transformers/all-MiniLM-L6-v2")
    found = hub.local(config.model)
    if found is not None and not (found / "config.json").is_file():
        raise ConfigError(f"--arch hf:{config.model}: {found} holds no config.json", "Give the folder of a saved model.")
    return found or hub.fetch(config.model)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from None
    return found


def _body(config: Config) -> nn.Module:
    transformers = _transformers(config)
    definition = {key: value for key, value in config.definition.items() if key not in {"architectures", "auto_map"}}
    try:
        found = transformers.AutoConfig.for_model(**definition)
        model = transformers.AutoModel.from_config(found)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, OSError) as error:
        raise ConfigError(f"--arch hf:{config.model}: transformers cannot build it: {str(error).splitlines()[0]}") from None
    return _encoder_of(model)


def _encoder_of(model: Any) -> nn.Module:
    """The half that reads, of a model that also writes; without its pooler and its token for hidden frames, unused here."""
    body = model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model
    if getattr(body, "pooler", None) is not None:
        body.pooler = None
    if getattr(body.config, "apply_spec_augment", False):  # varying the input is the modality's to do
        body.config.apply_spec_augment = False
    if hasattr(body, "masked_spec_embed"):
        body.masked_spec_embed = None
    encoder: nn.Module = body
    return encoder


def _takes(body: nn.Module, config: Config) -> tuple[Kind, str]:
    name = str(getattr(body, "main_input_name", ""))
    if name == "pixel_values" and "num_frames" in config.definition:
        name = "pixel_values_videos"
    if name not in _KIND_OF_INPUT:
        raise ConfigError(f"--arch hf:{config.model}: it reads {name!r}, which no column has", "Choose an encoder.")
    return _KIND_OF_INPUT[name]


def _width(config: Config) -> int:
    for key in ("hidden_size", "d_model", "hidden_sizes", "dim"):
        if value := config.definition.get(key):
            return int(value[-1] if isinstance(value, list) else value)
    raise ConfigError(f"--arch hf:{config.model}: its config.json does not say how wide it is")


def _quietly(transformers: Any) -> Any:
    """No progress bars or notes on unused heads while loading."""
    from contextlib import contextmanager

    @contextmanager
    def quiet() -> Any:
        before = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        try:
            yield
        finally:
            transformers.logging.set_verbosity(before)

    return quiet()
