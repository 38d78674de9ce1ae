#!/usr/bin/env bash
# make demo: what a user does, on a small real model and the packaged conversations.
set -euo pipefail
bin=$1
out=demo-output
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "\$ turnswap enable"
"$bin/turnswap" enable

say "\$ turnswap demo-model $out/model"
"$bin/turnswap" demo-model "$out/model" 2>/dev/null

say "\$ TURNSWAP_MULTIIF=sample lm_eval run --model hf --model_args pretrained=$out/model,dtype=float32 --tasks multiif \\
    --batch_size 16 --gen_kwargs max_gen_toks=64 --output_path $out/results --log_samples"
TURNSWAP_MULTIIF=sample "$bin/lm_eval" run --model hf --model_args "pretrained=$out/model,dtype=float32" \
  --tasks multiif --batch_size 16 --gen_kwargs max_gen_toks=64 --output_path "$out/results" --log_samples

say "Every prompt and reply, one file per language:"
ls -1 "$out"/results/*/samples_multiif_*.jsonl | tail -n 8
