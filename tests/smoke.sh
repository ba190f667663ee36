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

echo "smoke: resip"
short="method.rounds=1 method.updates_per_round=4 method.batch_size=8 episodes=2 quiet=true"
state="student.vectors=[proprio,privileged,relations] method.allow_privileged=true"
net="student.widths=[8,16] student.horizon=16"
embodkd record task=peg_assembly task.image_size=32 episodes=3 num_envs=4 disturb=0.002 \
    groups=[proprio,privileged,relations,wrist_rgb,front_rgb] run=resip/demos quiet=true
embodkd distill student demos=resip/demos student=mlp_chunk student.width=16 student.blocks=1 $state $short run=resip/base
embodkd distill student demos=resip/demos student=diffusion $net $state $short run=resip/diffusion
embodkd distill student demos=resip/demos teacher=resip/diffusion student=diffusion student.steps=1 method=one_step \
    $net $state $short run=resip/one_step
embodkd train residual base=resip/base td3.warmup=128 td3.critic_warmup=128 steps=400 end_when_lost=true evaluate_episodes=2 episodes=2 run=resip/sum quiet=true
embodkd distill student teacher=resip/sum student=camera_chunk num_envs=2 method.rounds=1 method.steps=4 episodes=2 \
    run=resip/student quiet=true
embodkd distill student demos=resip/demos student=camera_chunk $short run=resip/imitator
for part in base diffusion one_step sum student imitator; do
    test -s "resip/$part/evaluation.json" || { echo "smoke: resip/$part/evaluation.json is missing" >&2; exit 1; }
done
echo "smoke: resip done"

echo "smoke: grasp"
state="student.vectors=[proprio,privileged] method.allow_privileged=true"
dagger="num_envs=4 method.rounds=1 method.steps=8 episodes=2 quiet=true"
embodkd evaluate policy=expert task=grasp task.split=unseen_class episodes=4 out=grasp/script/evaluation.json quiet=true
embodkd record task=grasp episodes=3 num_envs=4 only_success=false run=grasp/demos quiet=true
embodkd distill student demos=grasp/demos failed=true student=mlp_chunk student.horizon=1 student.width=16 \
    student.blocks=1 $state $short run=grasp/clone
embodkd train residual base=grasp/clone td3.warmup=128 td3.critic_warmup=128 steps=400 evaluate_episodes=2 episodes=2 \
    run=grasp/sum quiet=true
for student in pointnet point_transformer blind; do
    embodkd distill student teacher=grasp/sum student=$student $dagger run=grasp/$student
done
embodkd evaluate policy=grasp/pointnet task=grasp task.split=unseen_size episodes=2 quiet=true
for part in script clone sum pointnet point_transformer blind; do
    test -s "grasp/$part/evaluation.json" || { echo "smoke: grasp/$part/evaluation.json is missing" >&2; exit 1; }
done
echo "smoke: grasp done"
