#!/usr/bin/env python3
"""Writes tests/data/golden/hf.json: what Hugging Face transformers answers on our test models.

For each model: token ids, and for every token but the first its log-probability and whether it is
the most likely one, in fp32 and in bf16 (both from the same bf16 weights). The C++ test
tests/golden/hf_test.cc measures our distance to HF's fp32 against HF's own bf16 distance.

Needs torch, transformers, gguf and numpy (versions are recorded in the output); not run in CI.
Usage: tools/make_hf_goldens.py --smollm2 FILE.gguf --text ../shared/data/gsm8k_test.jsonl
"""

import argparse
import json
import pathlib

import gguf
import numpy as np
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY_MODELS = ["tiny-llama", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3-moe"]
SEQUENCES, SEQUENCE_TOKENS, REAL_TOKENS = 4, 280, 500


def round_to_bf16(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(torch.bfloat16)


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp stores rotary pairs interleaved; transformers wants the two halves of a head."""
    rows, cols = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)


def smollm2_from_gguf(path: str) -> transformers.LlamaForCausalLM:
    reader = gguf.GGUFReader(path)

    def field(name):
        return reader.get_field("llama." + name).contents()

    heads, kv_heads = field("attention.head_count"), field("attention.head_count_kv")
    tensors = {t.name: t for t in reader.tensors}
    vocab, hidden = tensors["token_embd.weight"].shape[::-1]
    config = transformers.LlamaConfig(
        vocab_size=int(vocab), hidden_size=int(hidden),
        intermediate_size=field("feed_forward_length"), num_hidden_layers=field("block_count"),
        num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=field("context_length"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": field("rope.freq_base")},
        tie_word_embeddings="output.weight" not in tensors)
    names = {"token_embd.weight": "model.embed_tokens.weight",
             "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
    layer_names = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj",
                   "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
                   "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
                   "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
                   "ffn_down": "mlp.down_proj"}
    state = {}
    for name, tensor in tensors.items():
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in name:
            values = unpermute(values, heads)
        if ".attn_k." in name:
            values = unpermute(values, kv_heads)
        if name in names:
            hf_name = names[name]
        else:
            _, layer, kind, suffix = name.split(".")
            hf_name = f"model.layers.{layer}.{layer_names[kind]}.{suffix}"
        state[hf_name] = round_to_bf16(values).float()
    model = transformers.LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model


def to_bf16(model):
    """bf16 weights; Module.bfloat16() also rounds the rotary frequencies, which is a trap."""
    frequencies = {n: b.clone() for n, b in model.named_buffers() if "inv_freq" in n}
    model = model.to(torch.bfloat16)
    for name, buffer in frequencies.items():
        parent, leaf = name.rsplit(".", 1)
        setattr(model.get_submodule(parent), leaf, buffer)
    return model


@torch.no_grad()
def answers(model, ids):
    logits = model(torch.tensor([ids])).logits[0, :-1].float()
    logprobs = torch.log_softmax(logits, -1)
    chosen = logprobs[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
    return {"logprobs": [float(np.float32(x)) for x in chosen], "top1": logits.argmax(-1).tolist()}


def golden(load, sequences):
    result = {"sequences": [{"token_ids": ids} for ids in sequences]}
    fp32 = load().float().eval()
    for entry in result["sequences"]:
        entry["fp32"] = answers(fp32, entry["token_ids"])
    bf16 = to_bf16(fp32)
    for entry in result["sequences"]:
        entry["bf16"] = answers(bf16, entry["token_ids"])
    return result


def real_text_ids(path, gguf_path):
    """The first questions of GSM8K as SmolLM2's ids (byte-level BPE read from the GGUF)."""
    import tokenizers
    reader = gguf.GGUFReader(gguf_path)
    tokens = reader.get_field("tokenizer.ggml.tokens").contents()
    merges = [tuple(m.split(" ")) for m in reader.get_field("tokenizer.ggml.merges").contents()]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    lines = pathlib.Path(path).read_text().splitlines()
    text = "\n".join(json.loads(line)["question"] for line in lines[:30])
    return tokenizer.encode(text).ids[:REAL_TOKENS]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smollm2", required=True)
    parser.add_argument("--text", required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    out = {"about": "tools/make_hf_goldens.py: next-token answers of Hugging Face transformers",
           "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
           "models": {}}
    for name in TINY_MODELS:
        def load(path=ROOT / "models" / name):
            return transformers.AutoModelForCausalLM.from_pretrained(
                path, dtype=torch.float32, attn_implementation="eager")
        vocab = load().config.vocab_size
        rng = np.random.default_rng(7)
        sequences = [rng.integers(0, vocab, SEQUENCE_TOKENS).tolist() for _ in range(SEQUENCES)]
        out["models"][name] = golden(load, sequences)
    ids = real_text_ids(args.text, args.smollm2)
    out["models"]["smollm2"] = golden(lambda: smollm2_from_gguf(args.smollm2), [ids])
    for name, model in out["models"].items():
        distances = [abs(a - b) for s in model["sequences"]
                     for a, b in zip(s["fp32"]["logprobs"], s["bf16"]["logprobs"])]
        print(f"{name}: mean |bf16 - fp32| {np.mean(distances):.5f}")
    path = ROOT / "tests/data/golden/hf.json"
    path.write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
