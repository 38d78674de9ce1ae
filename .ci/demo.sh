#!/usr/bin/env bash
# make demo: what a user does, on a small real model: Multi-IF on it, two experts of it, swapped, verified, measured, reported.
set -euo pipefail
bin=$1
out=demo-output
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# Whatever an earlier demo left would be refused, as it should be.
rm -rf "$out"

say "\$ turnswap enable"
"$bin/turnswap" enable

say "\$ turnswap demo-model $out/model"
"$bin/turnswap" demo-model "$out/model" 2>/dev/null

evaluate() { # MODEL TASKS RESULTS
  say "\$ TURNSWAP_MULTIIF=sample lm_eval run --model hf --model_args pretrained=$1,dtype=float32 --tasks $2 \\
    --batch_size 16 --gen_kwargs max_gen_toks=64 --output_path $3 --log_samples"
  TURNSWAP_MULTIIF=sample "$bin/lm_eval" run --model hf --model_args "pretrained=$1,dtype=float32" \
    --tasks "$2" --batch_size 16 --gen_kwargs max_gen_toks=64 --output_path "$3" --log_samples
}
evaluate "$out/model" multiif "$out/results"
say "Every prompt and reply, one file per language:"
ls -1 "$out"/results/*/samples_multiif_*.jsonl | tail -n 8

for expert in arithmetic_en instructions_es; do
  say "\$ trl sft --config configs/expert_$expert.yaml"
  "$bin/trl" sft --config "configs/expert_$expert.yaml" 2>&1 | tr '\r' '\n' |
    grep -oE --line-buffered "\{'(loss|train_runtime)'.*\}|.*Error.*"
done

say "\$ turnswap plan configs/layerswap_demo.yml"
"$bin/turnswap" plan configs/layerswap_demo.yml

say "\$ mergekit-yaml configs/layerswap_demo.yml $out/merged"
"$bin/mergekit-yaml" configs/layerswap_demo.yml "$out/merged" --quiet

say "\$ turnswap verify $out/merged --write-provenance"
"$bin/turnswap" verify "$out/merged" --write-provenance

evaluate "$out/merged" multiif_es "$out/merged-results"

say "\$ turnswap compare $out/results $out/merged-results"
"$bin/turnswap" compare "$out/results" "$out/merged-results"

say "\$ turnswap report $out/results $out/merged-results -o $out/report.html"
"$bin/turnswap" report "$out/results" "$out/merged-results" -o "$out/report.html"
