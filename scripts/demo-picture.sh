#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Draws docs/img/demo.svg: the demo on a real terminal (tmux), a moment after a
# burst of messages.
set -euo pipefail
cd "$(dirname "$0")/.."

columns=104 rows=33
work=$(mktemp -d)
tmux() { command tmux -S "$work/tmux" "$@"; }
trap 'tmux kill-server 2>/dev/null || true; rm -rf "$work"' EXIT

go build -o "$work/millrace" ./cmd/millrace
tmux new-session -d -x $columns -y $rows "TERM=xterm-256color NO_COLOR= $work/millrace demo"
sleep "${1:-22}"      # the charts fill
tmux send-keys ' '     # 2000 messages at once
until tmux capture-pane -p | grep -q ' waiting$'; do sleep 0.05; done
sleep "${2:-0.4}"      # how long after the burst
tmux capture-pane -e -p > "$work/screen"
tmux send-keys q
go run ./scripts/ansi-svg -title 'go run ./cmd/millrace demo' -columns $columns < "$work/screen" > docs/img/demo.svg
while tmux has-session 2>/dev/null; do sleep 0.2; done # it drains
