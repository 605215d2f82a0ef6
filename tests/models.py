"""Tiny open_clip models with random weights, in open_clip's own local format: one of each family."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
TIMM = {"image_size": 160, "timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "avg"}
OPENAI = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic"}
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
SMALL_VOCABULARY = {"hf_tokenizer_name": "somewhere/tokens", "vocab_size": 64}

FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "clip": ({"vision_cfg": VISION, "text_cfg": TEXT}, OPENAI),
    "quickgelu": ({"quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT}, OPENAI),
    "resnet": (
        {"vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16}, "text_cfg": TEXT},
        OPENAI,
    ),
    "siglip": (
        {
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": {**TIMM, "timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "linear"},
            "text_cfg": {
                **TEXT,
                **SMALL_VOCABULARY,
                "context_length": 64,
                "tokenizer_kwargs": {"clean": "canonicalize"},
                "no_causal_mask": True,
                "proj_bias": True,
                "pool_type": "last",
                "norm_kwargs": {"eps": 1e-6},
            },
        },
        HALF,
    ),
    "mobileclip": (
        {
            "custom_text": True,
            "vision_cfg": {**TIMM, "timm_model_name": "test_efficientnet", "timm_proj": "linear"},
            "text_cfg": {**TEXT, "no_causal_mask": True},
        },
        {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "resize_mode": "shortest"},
    ),
    "pe": (
        {
            "custom_text": True,
            "vision_cfg": {**TIMM, "timm_proj": "linear"},
            "text_cfg": {**TEXT, "context_length": 32, "no_causal_mask": False},
        },
        {**HALF, "interpolation": "bilinear"},
    ),
    "clipa": (
        {
            "vision_cfg": {**VISION, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
            "text_cfg": {
                **TEXT,
                **SMALL_VOCABULARY,
                "context_length": 32,
                "tokenizer_kwargs": {"strip_sep_token": True},
                "pool_type": "last",
                "no_causal_mask": True,
            },
        },
        {**HALF, "interpolation": "bilinear", "resize_mode": "longest", "fill_color": 127},
    ),
    "coca": (
        {
            "custom_text": True,
            "vision_cfg": {**VISION, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
            "text_cfg": {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
            "multimodal_cfg": {
                "context_length": 76,
                "width": 32,
                "heads": 2,
                "layers": 1,
                "attn_pooler_heads": 2,
            },
        },
        OPENAI,
    ),
    "roberta": (
        {
            "vision_cfg": VISION,
            "text_cfg": {
                "hf_model_name": "somewhere/roberta",
                "hf_tokenizer_name": "somewhere/tokens",
                "hf_proj_type": "mlp",
                "hf_pooler_type": "mean_pooler",
            },
        },
        OPENAI,
    ),
}
"""Architecture and preprocessing by family. The settings are those of the published models, made small."""
DIM = 32


def config_of(family: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Copies of open_clip's model_cfg and preprocess_cfg."""
    model, preprocess = copy.deepcopy(FAMILIES[family])
    return {"embed_dim": DIM, **model}, preprocess


def write_tokenizer(folder: Path) -> None:
    """A word tokenizer of 64 tokens in the format of transformers, which pads and ends as SigLIP's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["a", "photo", "of", "the", "red", "blue", "dog", "cat", "square", "and", "it", "over", "again"]
    letters = [chr(code) for code in range(ord("b"), ord("z") + 1)]
    vocabulary = {
        word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", "<s>", *words, *letters])
    }
    bare = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    bare.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    whole = PreTrainedTokenizerFast(
        tokenizer_object=bare, pad_token="<pad>", eos_token="</s>", sep_token="</s>", unk_token="<unk>"
    )
    whole.save_pretrained(folder)


def write_text_model(folder: Path) -> None:
    """The configuration of a tiny RoBERTa."""
    from transformers import RobertaConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    RobertaConfig(vocab_size=64, max_position_embeddings=96, pad_token_id=0, **sizes).save_pretrained(folder)


def write_model(folder: Path, family: str, seed: int = 0) -> Path:
    """The model in open_clip's local format, with its tokenizer where it has one of its own."""
    import open_clip
    import torch
    from open_clip.coca_model import CoCa
    from safetensors.torch import save_file

    config, preprocess = config_of(family)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}), encoding="utf-8"
    )
    text = config["text_cfg"]
    if "hf_tokenizer_name" in text:
        write_tokenizer(folder)
    if "hf_model_name" in text:
        write_text_model(folder / "text_model")
        text = {**text, "hf_model_name": str(folder / "text_model"), "hf_model_pretrained": False}
    custom = config.pop("custom_text", False) or "hf_model_name" in text
    classes = {True: open_clip.CustomTextCLIP, False: open_clip.CLIP}
    made = CoCa if "multimodal_cfg" in config else classes[custom]
    torch.manual_seed(seed)
    model = made(**{**config, "text_cfg": text})
    with torch.no_grad():  # what starts as zero would hide a part that is not read
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    state = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, str(folder / "open_clip_model.safetensors"))
    return folder
