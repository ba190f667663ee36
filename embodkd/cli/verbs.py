"""The verbs of the command line, as a table: importing it costs nothing, and help and completion need no more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """One command.

    words: what is typed after `embodkd`; config: its file in configs/ (None: the command parses its own words);
    function: "module:name" of what runs, or of a dataclass of the keys that is called when it is made; positional: the
    key that a bare word sets; needs: keys without a default; runs: keys that name a run; a study there makes it one
    command for each of its runs, unless it takes them `together`; given: a verb of the same words with other keys,
    chosen by giving this one (`embodkd train teacher data=digits`).

    Started several times by torchrun, the processes share out what `shares` says, or are refused because of `refuses`;
    where neither is said the first one alone runs it.
    """

    words: tuple[str, ...]
    summary: str
    function: str
    examples: tuple[str, ...]
    config: str | None = None
    positional: str | None = None
    needs: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    together: bool = False
    given: str | None = None
    shares: str | None = None
    refuses: str | None = None

    @property
    def several(self) -> str:
        """What happens when torchrun starts it several times, in words."""
        if self.refuses is not None:
            return f"refused: {self.refuses}"
        return "the first one alone runs it" if self.shares is None else f"they share out {self.shares}"

    @property
    def shown(self) -> str:
        """`"train teacher data=..."`: the title, and the key that chooses this form."""
        return f"{self.title} {self.given}=..." if self.given else self.title

    @property
    def title(self) -> str:
        """`"train teacher"`."""
        return " ".join(self.words)


_ONE_LEARNER = "a residual is learned in one process, whose copies of the task use all cores"

VERBS = (
    Verb(
        ("train", "teacher"),
        "train a privileged teacher by reinforcement learning",
        "embodkd.cli.train:TrainTeacher",
        ("embodkd train teacher task=peg_hole", "embodkd train teacher -m task=hand_lift seed=0,1,2"),
        config="train_teacher",
        runs=("init",),
        shares="the copies of the task, every batch, and the episodes of the evaluation",
    ),
    Verb(
        ("train", "teacher"),
        "train a classifier on a data set",
        "embodkd.cli.classifier:TrainClassifier",
        ("embodkd train teacher data=digits", "embodkd train teacher data=fashion_mnist model=cnn budget.epochs=10"),
        config="train_classifier",
        given="data",
        shares="every batch, and the items of the test",
    ),
    Verb(
        ("train", "residual"),
        "correct a policy that predicts chunks, step by step, by reinforcement learning",
        "embodkd.cli.train:TrainResidual",
        (
            "embodkd train residual base=runs/diffusion_peg_assembly",
            "embodkd train residual base=runs/diffusion_peg_assembly residual.every=8 learner=ppo",
        ),
        config="train_residual",
        runs=("base",),
        needs=("base",),
        refuses=_ONE_LEARNER,
    ),
    Verb(
        ("distill", "student"),
        "make a student that reads only what it will have when deployed",
        "embodkd.cli.distill:DistillStudent",
        ("embodkd distill student teacher=runs/teacher_peg_hole student=depth_cnn method=dagger",),
        config="distill_student",
        runs=("teacher",),
        needs=("teacher",),
        shares="the copies of the task, every batch, and the episodes of the evaluation",
    ),
    Verb(
        ("distill", "student"),
        "make a smaller classifier that learns from a larger one, by any method",
        "embodkd.cli.classifier:DistillClassifier",
        ("embodkd distill student data=digits teacher=runs/teacher_digits model.hidden=[16] method=kd",),
        config="distill_classifier",
        runs=("teacher",),
        given="data",
        shares="every batch, and the items of the test",
    ),
    Verb(
        ("distill", "student"),
        "make a policy from stored demonstrations alone, in chunks of actions",
        "embodkd.cli.demos:DistillDemos",
        ("embodkd distill student demos=runs/record_expert_peg_assembly method.allow_privileged=true",),
        config="distill_demos",
        runs=("demos", "teacher"),
        needs=("demos",),
        given="demos",
        shares="every batch, and the episodes of the evaluation",
    ),
    Verb(
        ("record",),
        "keep episodes of an expert or a policy as a LeRobot dataset",
        "embodkd.cli.record:RecordEpisodes",
        (
            "embodkd record task=peg_assembly episodes=50",
            "embodkd record policy=runs/residual_peg_assembly episodes=300 groups=[proprio,wrist_rgb,front_rgb]",
        ),
        config="record",
        runs=("policy",),
    ),
    Verb(
        ("evaluate",),
        "judge a policy: success with its interval, failures, sensor ablation",
        "embodkd.cli.evaluate:EvaluatePolicy",
        ("embodkd evaluate policy=runs/depth_cnn_peg_hole episodes=200",),
        config="evaluate",
        runs=("policy", "demos"),
        positional="policy",
        needs=("policy",),
        shares="the episodes, and the spoiled sensors of ablate=true",
    ),
    Verb(
        ("evaluate",),
        "judge the best of some recorded episodes, replayed without looking: the floor of a task",
        "embodkd.cli.judge_replay:JudgeReplay",
        (
            "embodkd evaluate replay=runs/record_expert_peg_assembly",
            "embodkd evaluate replay=runs/record_expert_peg_assembly task=peg_assembly task.randomness=medium",
        ),
        config="evaluate_replay",
        runs=("replay",),
        needs=("replay",),
        given="replay",
        shares="the episodes",
    ),
    Verb(
        ("compare",),
        "compare two policies on the same episodes; the answer may be: not enough to tell",
        "embodkd.cli.compare:ComparePolicies",
        ("embodkd compare policy=runs/depth_cnn_peg_hole against=runs/teacher_peg_hole",),
        config="compare",
        runs=("policy", "against"),
        together=True,
        needs=("policy", "against"),
    ),
    Verb(
        ("rollout",),
        "film episodes, with success stamped on the picture",
        "embodkd.cli.rollout:FilmPolicies",
        ("embodkd rollout policy=runs/depth_cnn_peg_hole beside=runs/teacher_peg_hole episodes=4",),
        config="rollout",
        runs=("policy", "beside"),
        positional="policy",
        needs=("policy",),
    ),
    Verb(
        ("report",),
        "one HTML file with curves, intervals and videos that opens offline",
        "embodkd.cli.report:report",
        ("embodkd report runs/demo", "embodkd report runs"),
        config="report",
        runs=("run",),
        together=True,
        positional="run",
        needs=("run",),
    ),
    Verb(
        ("export",),
        "write a policy or a classifier as ONNX or torch.export, and check that it acts as evaluation does",
        "embodkd.cli.export:ExportTrained",
        ("embodkd export policy=runs/depth_cnn_peg_hole format=onnx out=student.onnx",),
        config="export",
        runs=("policy",),
        positional="policy",
        needs=("policy",),
    ),
    Verb(
        ("study",),
        "a fair comparison: arms, seeds and one budget from a file, to a page with a verdict",
        "embodkd.cli.study:study",
        ("embodkd study sensors jobs=2", "embodkd study my_study.yaml seeds=[0,1,2,3,4]"),
        config="study",
        positional="study",
    ),
    Verb(
        ("reproduce",),
        "fill a method's table: baselines and ablations beside it, several seeds, its claims checked",
        "embodkd.cli.reproduce:reproduce",
        ("embodkd reproduce nkd_uskd jobs=2", "embodkd reproduce nkd_uskd full=true dry_run=true"),
        config="reproduce",
        positional="slug",
    ),
    Verb(
        ("methods",),
        "list the distillation methods with what their tables say, or show one",
        "embodkd.cli.methods:main",
        ("embodkd methods", "embodkd methods show dagger", "embodkd methods --markdown"),
    ),
    Verb(
        ("data", "list"),
        "list the data sets, and what is missing to use each",
        "embodkd.cli.data:show",
        ("embodkd data list",),
    ),
    Verb(
        ("data", "get"),
        "fetch a data set that no Python package carries into your cache",
        "embodkd.cli.data:get",
        ("embodkd data get emoji", "embodkd data get fashion_mnist"),
    ),
    Verb(
        ("demo",),
        "the whole way in three minutes: teacher, depth student, its blind twin, report",
        "embodkd.cli.demo:demo",
        ("embodkd demo",),
        config="demo",
    ),
    Verb(
        ("doctor",),
        "what this machine can do, what is missing and how to mend it",
        "embodkd.cli.doctor:doctor",
        ("embodkd doctor",),
        config="doctor",
    ),
    Verb(
        ("completion",),
        "print the completion script of a shell",
        "embodkd.cli.completion:main",
        ('eval "$(embodkd completion bash)"', "embodkd completion fish | source"),
    ),
)


def find(words: list[str]) -> tuple[Verb | None, list[str]]:
    """The verb that `words` begin with and the words after it; (None, words) if there is none."""
    for length in range(len(words), 0, -1):
        forms = [verb for verb in VERBS if list(verb.words) == words[:length]]
        if forms:
            rest = words[length:]
            keys = {word.lstrip("+").partition("=")[0] for word in rest if "=" in word}
            return next((form for form in forms if form.given in keys), forms[0]), rest
    return None, words


def other_forms(verb: Verb) -> list[Verb]:
    """The verbs of the same words with other keys."""
    return [other for other in VERBS if other.words == verb.words and other is not verb]


def after(words: list[str]) -> tuple[str, ...]:
    """The words that may follow `words` on the way to a verb: all first words after [], the nouns after a verb."""
    depth = len(words)
    fitting = [v.words for v in VERBS if len(v.words) > depth and list(v.words[:depth]) == words]
    return tuple(dict.fromkeys(w[depth] for w in fitting))
