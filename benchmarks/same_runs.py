"""The short runs that `benchmarks.same` makes of a commit: one per registered method and per recipe of a system."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Commands = dict[str, str]
"""Name of a run -> its command; a run that others need stands before them."""

_DATA = "data=digits data.train=96 data.validation=64 data.unlabelled=80"
_SHORT = "budget.updates=8 budget.batch_size=16 trainer.log_every=1 torch_threads=1"
_MLP, _CNN = "model.hidden=[8,8]", "model=cnn model.widths=[4,8] model.batch_norm=false"
_TEACHER, _CNN_TEACHER = "teacher=runs/teacher", "teacher=runs/cnn_teacher"
# A method that is not named here learns from one teacher, with its own defaults.
_METHODS = {
    "supervised": _MLP,
    "uskd": _MLP,
    "even_teacher": f"{_MLP} method.rounds=2",
    "adversarial": f"{_MLP} method.steps=2",
    "mtard": f"{_MLP} method.steps=2 teacher={{clean:runs/teacher,robust:runs/robust_teacher}}",
    "kd_aif": f"{_MLP} {_TEACHER} method.batch_size=32",
    "robust_active": f"{_MLP} {_TEACHER} method.queries=10 method.rounds=2",
    "lelp": f"{_MLP} {_TEACHER} method.subclasses=2",
    "tgeo_kd": f"{_MLP} {_TEACHER} method.validation_batch=32",
    "hard": f"{_CNN} {_CNN_TEACHER}",
    "kd3": f"{_CNN} {_CNN_TEACHER} method.pool=unlabelled method.embed=8 method.cutoff=0.1 budget.epochs=4",
    "takd": f"model.hidden=[8] {_TEACHER} method.argument=hidden",
    "trg": f"{_CNN} {_CNN_TEACHER}",
    "tinyvit": f"{_CNN} {_CNN_TEACHER} method.pool=unlabelled method.passes=1 method.top_k=3",
    "denoise": "model=denoiser model.width=16",
    "disback": "model=denoiser model.width=16 model.steps=1 teacher=runs/denoise method.snapshots=1 method.recorded=2"
    " method.interval=2",
}
# Those that learn from other data: what is learned from, then how. Made up, so that nothing need be fetched.
_SUMS = "data=sums data.digits=1 data.train=30 data.validation=6 data.test=6 data.pool=6"
_GRU = f"{_SUMS} model=gru_lm"
_GLOSSES = "data=gloss45 data.blank=true model=bert_classifier model.width=8 model.depth=1 model.heads=2"
_PAIRS = (
    "data=hub_pairs data.blank=true data.size=16 data.length=8 model=towers model.patch=8 model.head=8 model.joint=8"
    " model.image_width=16 model.text_width=16"
)
_TONES = "data=tones data.blank=true data.longest=5"
_LM_TEACHER = "teacher=runs/lm_teacher"
_OTHERS = {
    "sequence_kd": f"{_GRU} model.width=8 {_LM_TEACHER}",
    "teacher_hacking": f"{_GRU} model.width=8 method.evaluations=3"
    " teacher={oracle:runs/lm_teacher,teacher:runs/lm_teacher}",
    # a teacher that errs at times, at a temperature
    "redi": f"{_SUMS} model=causal_lm model.width=8 model.depth=1 model.heads=2 {_LM_TEACHER} method.temperature=2",
    "teacher_intervention": f"{_GLOSSES} teacher=runs/bert_teacher method.evaluations=2",
    "tinyclip": f"{_PAIRS} model.image_depth=1 model.text_depth=1 teacher=runs/pairs_teacher",
    "fastspeech2": f"{_TONES} model=fastspeech2 model.width=16 model.hidden=16 model.predictor=16 model.pitch=false"
    " model.energy=false method.durations=attention method.mels=teacher teacher=runs/speech_teacher",
    "momentum_gs": "data=rooms data.blank=true model=scaffold_gs model.anchors=8 method.interval=2",
}

_PPO = "ppo.num_envs=32 ppo.n_steps=16 ppo.minibatch=256 steps=1024 evaluate_episodes=4 episodes=4"
_DEMOS = "method.rounds=1 method.updates_per_round=4 method.batch_size=8 episodes=4 torch_threads=1 trainer.log_every=1"
_STATE = f"student.vectors=[proprio,privileged,relations] method.allow_privileged=true {_DEMOS}"
_NET = f"student=diffusion student.widths=[8,16] student.horizon=16 {_STATE}"
_RESIDUAL = "train residual base=runs/mlp_chunk steps=400 evaluate_episodes=2 episodes=2"
_FLOAT32 = "trainer.log_every=1 trainer.precision=no torch_threads=1"  # as the tables are
_DAGGER = f"num_envs=4 method.rounds=2 method.steps=6 episodes=4 {_FLOAT32}"
ROBOTS: Commands = {
    "peg_hole": f"train teacher task=peg_hole {_PPO}",
    "pick_lift": f"train teacher task=pick_lift {_PPO}",
    "hand_lift": f"train teacher task=hand_lift {_PPO}",
    "dagger": f"distill student teacher=runs/peg_hole student=depth_cnn {_DAGGER}",
    "dagger_finetune": f"distill student teacher=runs/pick_lift student=pointnet {_DAGGER} finetune.steps=600"
    " finetune.critic_warmup=0",
    "bc": "distill student teacher=runs/peg_hole student=rgb_cnn method=bc num_envs=4 method.episodes=4 method.epochs=1"
    f" episodes=4 {_FLOAT32}",
    "demos": "record task=peg_assembly task.image_size=32 episodes=3 num_envs=4"
    " groups=[proprio,privileged,relations,wrist_rgb,front_rgb]",
    "mug_rack": "record task=mug_rack episodes=2 num_envs=2 only_success=false groups=[proprio,privileged]",
    "mlp_chunk": f"distill student demos=runs/demos student=mlp_chunk student.width=16 student.blocks=1 {_STATE}",
    "diffusion": f"distill student demos=runs/demos {_NET}",
    "one_step": f"distill student demos=runs/demos teacher=runs/diffusion method=one_step student.steps=1 {_NET}",
    "camera_chunk": f"distill student demos=runs/demos student=camera_chunk {_DEMOS}",
    "residual_td3": f"{_RESIDUAL} td3.num_envs=2 td3.every=64 td3.warmup=128 td3.critic_warmup=128",
    "residual_ppo": f"{_RESIDUAL} learner=ppo ppo.num_envs=4 ppo.actor_warmup=0",
    "residual_student": f"distill student teacher=runs/residual_td3 student=camera_chunk {_DAGGER}",
}

# `reproduce` has a path of its own to a trained student; its file is written beside the runs. What `diswot` makes is no
# model of a name, so no command keeps it.
TABLE = """slug: table
data: {name: digits, train: 96, validation: 64}
student: {name: mlp, hidden: [8, 8]}
budget: {epochs: 2, batch_size: 16}
seeds: [0, 1]
teachers:
  large: {model: {name: mlp, hidden: [16, 16]}, method: {name: supervised}}
arms:
  alone: {role: student_alone, method: {name: supervised}}
  kd: {role: baseline, method: {name: kd}}
  dkd: {role: method, method: {name: dkd, warmup_epochs: 1}}
  diswot:
    role: method
    method: {name: diswot, argument: hidden, choices: [4, 8], evaluations: 8, population: 4, sample: 2, top: 2,
             batch: 16, repeats: 2, semantic: 0.0}
"""
TEACHERS: Commands = {
    "teacher": f"train teacher {_DATA} model.hidden=[16] {_SHORT}",
    "cnn_teacher": f"train teacher {_DATA} model=cnn model.widths=[8,16] {_SHORT}",
    "resnet_teacher": f"train teacher {_DATA} model=resnet model.depths=[1,1] model.widths=[8,16]"
    f" model.stem_width=8 {_SHORT}",
    "tiny_vit_teacher": f"train teacher {_DATA} model=tiny_vit model.widths=[8,16] model.depths=[1,1] model.heads=[1,2]"
    f" model.windows=[4,2] {_SHORT}",
    "lite_teacher": f"train teacher {_DATA} model=efficientnet_lite0 model.pretrained=false model.resolution=32"
    f" {_SHORT}",
    "robust_teacher": f"train teacher {_DATA} model.hidden=[16] method=adversarial method.steps=2 {_SHORT}",
}
_OTHER_TEACHERS: Commands = {
    "lm_teacher": f"train teacher {_GRU} model.width=48 budget.updates=300 budget.batch_size=16"
    " budget.optimiser.learning_rate=0.01 trainer.log_every=50 torch_threads=1",
    "bert_teacher": f"train teacher {_GLOSSES} {_SHORT}",
    "speech_teacher": f"train teacher {_TONES} model=attention_tts model.width=16 {_SHORT}",
    "pairs_teacher": f"train teacher {_PAIRS} model.image_depth=2 model.text_depth=2 {_SHORT}",
}


def commands(domains: Mapping[str, str]) -> Commands:
    """All runs for a registry of methods, given as name -> domain."""
    classifiers = [name for name, domain in domains.items() if domain != "robot" and name != "diswot"]
    students = {
        name: f"distill student method={name} {_OTHERS[name]} {_SHORT}"
        if name in _OTHERS
        else f"distill student {_DATA} method={name} {_METHODS.get(name, f'{_MLP} {_TEACHER}')} {_SHORT}"
        for name in classifiers
    }
    asked = {name for command in students.values() for name in needed(command, _OTHER_TEACHERS)}
    teachers = {**TEACHERS, **{name: command for name, command in _OTHER_TEACHERS.items() if name in asked}}
    return {**teachers, **students, "table": "reproduce table.yaml out=table.json", **ROBOTS}


def chosen(runs: Commands, words: Iterable[str]) -> Commands:
    """The runs whose name contains one of `words` (all without), and those that they need."""
    words = list(words)
    wanted = [name for name in runs if not words or any(word in name for word in words)]
    for name in wanted:  # grows while it is read
        wanted += [other for other in needed(runs[name], runs) if other not in wanted]
    return {name: command for name, command in runs.items() if name in wanted}


def needed(command: str, runs: Iterable[str]) -> list[str]:
    """The runs that a command names as folders."""
    words = command.replace("{", " ").replace("}", " ").replace(",", " ").replace(":", " ").replace("=", " ").split()
    return [name for name in runs if f"runs/{name}" in words]
