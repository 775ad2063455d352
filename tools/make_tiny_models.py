#!/usr/bin/env python3
"""Makes models/tiny-*: random models of every family, small enough to be committed.

Usage: make_tiny_models.py [OUTPUT_DIR]     (default: models/ of this checkout)

Needs torch and transformers from PyPI (made with torch 2.15.0, transformers 5.23.0). The weights
come from one seeded generator a model, so that a second run of the same versions writes the same
bytes. They are spread as in trained models: linears with standard deviation about 1/sqrt(inputs)
keep activations near 1, norm weights lie around 1, and biases are not zero; the logits then differ
by several units and greedy choices are not ties.
"""

import pathlib
import shutil
import sys

import torch
from transformers import (LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM)

COMMON = dict(
    vocab_size=320,
    max_position_embeddings=4096,
    rms_norm_eps=1e-6,
    bos_token_id=1,
    eos_token_id=2,
    initializer_range=0.02,
)

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    # Small, so that all three branches of the formula are taken at head_dim 64.
    "original_max_position_embeddings": 512,
}

# name: (config, model class, extra fields of generation_config.json, shard size or None)
MODELS = {
    "tiny-llama": (
        LlamaConfig(**COMMON, hidden_size=96, intermediate_size=160, num_hidden_layers=3,
                    num_attention_heads=4, num_key_value_heads=2, head_dim=64,
                    rope_parameters=LLAMA3_ROPE, tie_word_embeddings=False),
        LlamaForCausalLM, dict(eos_token_id=[2, 3], temperature=0.6, top_p=0.9, do_sample=True),
        None),
    "tiny-qwen2": (
        Qwen2Config(**COMMON, hidden_size=128, intermediate_size=192, num_hidden_layers=2,
                    num_attention_heads=2, num_key_value_heads=1,
                    rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
                    tie_word_embeddings=True),
        Qwen2ForCausalLM, dict(temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05,
                               do_sample=True), None),
    "tiny-qwen3": (
        Qwen3Config(**COMMON, hidden_size=128, intermediate_size=192, num_hidden_layers=2,
                    num_attention_heads=2, num_key_value_heads=1, head_dim=128,
                    rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
                    tie_word_embeddings=True),
        Qwen3ForCausalLM, dict(temperature=0.6, top_p=0.95, top_k=20, do_sample=True), "300KB"),
    "tiny-qwen3-moe": (
        Qwen3MoeConfig(**COMMON, hidden_size=64, intermediate_size=192, num_hidden_layers=2,
                       num_attention_heads=4, num_key_value_heads=2, head_dim=64,
                       moe_intermediate_size=48, num_experts=8, num_experts_per_tok=3,
                       norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[],
                       rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
                       tie_word_embeddings=False),
        Qwen3MoeForCausalLM, dict(temperature=0.7, top_p=0.8, top_k=20, do_sample=True), None),
}


def fill(model, generator):
    """Overwrites every parameter; the order of names fixes which draw goes where."""
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
        if name.endswith("norm.weight"):
            value = 1.0 + 0.2 * noise
        elif name.endswith("bias"):
            value = 0.5 * noise
        elif "embed_tokens" in name:
            value = 0.3 * noise
        elif "lm_head" in name:
            value = 2.5 * noise / parameter.shape[-1] ** 0.5
        else:
            value = 1.2 * noise / parameter.shape[-1] ** 0.5
        with torch.no_grad():
            parameter.copy_(value)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "models"
    for index, (name, (config, model_class, generation, shard_size)) in enumerate(MODELS.items()):
        directory = output / name
        shutil.rmtree(directory, ignore_errors=True)
        model = model_class(config)
        fill(model, torch.Generator().manual_seed(1000 + index))
        model = model.to(torch.bfloat16)
        model.config.dtype = torch.bfloat16
        model.generation_config.update(**generation)
        options = {"max_shard_size": shard_size} if shard_size else {}
        model.save_pretrained(directory, **options)
        for file in directory.iterdir():
            file.chmod(0o644)
        size = sum(file.stat().st_size for file in directory.iterdir())
        print(f"{directory}: {model.num_parameters()} parameters, {size} bytes")


if __name__ == "__main__":
    main()
