#!/bin/sh
# Everything that is to be measured on one GPU, in at most nine minutes: builds timed end to end at 768 and 512 pixels,
# each way to sample Stable unCLIP 2.1 at full size, and every family's networks. No download: weights are random.
#
#   sh bench/device.sh FOLDER
#
# FOLDER gets gpu.json, price-768.json, price-512.json and families.json, and what was printed. A part that fails leaves
# the others. PYTHON names the interpreter.

set -u
folder=${1:?the folder for the numbers}
mkdir -p "$folder"
cd "$(dirname "$0")/.."
python=${PYTHON:-python}

part() {
    name=$1
    limit=$2
    shift 2
    echo "== $name"
    timeout "$limit" "$python" "$@" >"$folder/$name.txt" 2>&1 || echo "   ended with $?"
    tail -n 20 "$folder/$name.txt"
}

part gpu 270 bench/gpu.py --json "$folder/gpu.json" --seconds 260 --only "device,model,per-image script,build"
part price-768 120 bench/price.py --model full --device cuda --dtype bfloat16 --images 32 --rounds 1 --json "$folder/price-768.json"
part price-512 70 bench/price.py --model full --device cuda --dtype bfloat16 --size 512 --images 32 --rounds 1 --json "$folder/price-512.json"
part families 80 bench/families.py --json "$folder/families.json"
