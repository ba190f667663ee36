#!/usr/bin/env bash
# Teacher, student, evaluation, film and report of every task, headless, in a folder that is removed afterwards.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset DISPLAY

small_ppo="ppo.num_envs=32 ppo.n_steps=16 ppo.minibatch=256 steps=1024 evaluate_episodes=4"
for task in $(embodkd __complete train teacher task= | sed 's/^task=//'); do
    echo "smoke: $task"
    embodkd train teacher task="$task" $small_ppo episodes=4 run="$task/teacher" quiet=true
    embodkd distill student teacher="$task/teacher" student=depth_cnn num_envs=4 method.rounds=1 method.steps=8 \
        episodes=0 run="$task/student" quiet=true
    embodkd evaluate policy="$task/student" episodes=4 quiet=true
    embodkd rollout policy="$task/student" beside="$task/teacher" episodes=1
    embodkd report "$task"
    for file in teacher/evaluation.json student/evaluation.json student/policy/model.safetensors \
        student/videos/rollout.mp4 report.html; do
        test -s "$task/$file" || { echo "smoke: $task/$file is missing" >&2; exit 1; }
    done
done
echo "smoke: every task done"

for data in digits digits_web; do
    echo "smoke: $data"
    embodkd train teacher data="$data" budget=short run="$data/teacher" quiet=true
    embodkd distill student data="$data" teacher="$data/teacher" model.hidden=[16] budget=short run="$data/student" quiet=true
    embodkd evaluate policy="$data/student"
    embodkd compare policy="$data/student" against="$data/teacher"
    embodkd report "$data"
    for file in teacher/evaluation.json student/evaluation.json student/model/model.safetensors report.html; do
        test -s "$data/$file" || { echo "smoke: $data/$file is missing" >&2; exit 1; }
    done
done
echo "smoke: data sets done"
