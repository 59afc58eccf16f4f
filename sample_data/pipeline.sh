#!/usr/bin/env bash
# The five stages on one table, as you would chain them on yours:  bash sample_data/pipeline.sh [TABLE] [ARTIFACTS]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
table=${1:-$here/data.csv}
export MMCLI_ARTIFACTS=${2:-artifacts}

mmcli preprocess "$table"
mmcli train-encoder
mmcli fuse --method gated --method concat --method sequential
mmcli optimize
mmcli evaluate
