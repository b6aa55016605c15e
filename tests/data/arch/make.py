#!/usr/bin/env python3
"""Small random models of each architecture feature, and their logits by transformers in float64.

    tests/data/arch/make.py        (needs torch, transformers 4.46, safetensors)

NAME/: config.json and weights in f16; NAME.json: token ids; NAME.f32: logits, one row of the vocabulary a position.
"""
import json
import os

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
VOCAB, LENGTH = 96, 40
SIZES = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             vocab_size=VOCAB, max_position_embeddings=128)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
MODELS = {
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SIZES, rope_theta=1e6, tie_word_embeddings=True)),
    "llama3": (LlamaForCausalLM, LlamaConfig(**SIZES, rope_theta=5e5, rms_norm_eps=1e-5, rope_scaling=LLAMA3)),
    "linear": (LlamaForCausalLM, LlamaConfig(**SIZES, rope_scaling=dict(type="linear", factor=2.0))),
    "mistral": (MistralForCausalLM, MistralConfig(**SIZES, head_dim=16, sliding_window=None)),
}


def randomize(model):
    for name, p in model.named_parameters():
        with torch.no_grad():
            value = torch.randn_like(p) * (0.3 if "bias" in name else 0.2) + (1.0 if "norm" in name else 0.0)
            p.copy_(value.half().double())


def save(name, model, config):
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    tied = config.tie_word_embeddings
    tensors = {k: v.half().contiguous() for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}
    if name == "qwen2":  # in two shards
        keys = list(tensors)
        shards = {f"model-0000{i + 1}-of-00002.safetensors": keys[i::2] for i in range(2)}
        for file, part in shards.items():
            save_file({k: tensors[k] for k in part}, os.path.join(folder, file))
        index = {"metadata": {}, "weight_map": {k: file for file, part in shards.items() for k in part}}
        json.dump(index, open(os.path.join(folder, "model.safetensors.index.json"), "w"), indent=1)
    else:
        save_file(tensors, os.path.join(folder, "model.safetensors"))
    json.dump(config.to_dict(), open(os.path.join(folder, "config.json"), "w"), indent=1, sort_keys=True)


def main():
    torch.manual_seed(0)
    for name, (kind, config) in MODELS.items():
        model = kind(config).double().eval()
        randomize(model)
        save(name, model, config)
        ids = torch.randint(0, VOCAB, (1, LENGTH))
        with torch.no_grad():
            logits = model(ids).logits[0].float().numpy()
        logits.astype("<f4").tofile(os.path.join(HERE, name + ".f32"))
        json.dump({"ids": ids[0].tolist()}, open(os.path.join(HERE, name + ".json"), "w"))


main()
