"""Every registered method by the command line, a student each: what `torchrun` starts, or a test in its own process.

One process group makes them all, one after the other; each rank's answers go to answers_RANK.json. What `diswot` makes
is no model of a name, which the command line says: it keeps none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import child

from benchmarks.same_runs import TEACHERS, commands
from embodkd.core.ranks import ranks
from embodkd.methods import METHODS, get_method, method_names

CHUNKS = "demos=demos student.vectors=[proprio] episodes=3 " + " ".join(
    word for word in child.CHUNKS if word.startswith("method.")
)
NET = "student=diffusion student.widths=[8] student.horizon=4 student.execute=2"
# Those that learn in a task or from demonstrations begin with what `furnish` makes.
ROBOTS = {
    "dagger": " ".join(["distill student", *child.ROBOT, "episodes=3"]),
    "bc": "distill student teacher=runs/expert student=mlp student.vectors=[proprio] method=bc num_envs=5 "
    "method.episodes=5 method.epochs=1 method.batch_size=16 episodes=3",
    "chunk_bc": f"distill student {NET} {CHUNKS}",
    "one_step": f"distill student method=one_step teacher=runs/chunk_bc {NET} student.steps=1 {CHUNKS}",
}


# What follows them: a student trained further in its task, and recordings that a policy is judged by.
TUNED = f"{ROBOTS['dagger']} finetune.steps=100 finetune.critic_warmup=0"
JUDGED = {"judged": "evaluate runs/chunk_bc demos=demos torch_threads=1 quiet=true"}


def every() -> dict[str, list[str]]:
    """Method, teacher of some, or what follows -> its command."""
    names = [name for name in method_names() if name != "diswot"]
    domains = {name: METHODS.metadata(name)["domain"] for name in names if get_method(name)}
    made = {k: v for k, v in commands(domains).items() if k in TEACHERS or domains.get(k) == "vision"}
    trained = {k: f"{v} {' '.join(child.QUICK)} run=runs/{k}" for k, v in {**made, **ROBOTS, "tuned": TUNED}.items()}
    return {name: command.split() for name, command in {**trained, **JUDGED}.items()}


def carried_out() -> dict[str, dict]:
    """The answers to all of them, in this process."""
    child.COMMANDS.update(every())
    return child.carry_out(list(every()))


if __name__ == "__main__":
    Path(f"answers_{ranks().rank}.json").write_text(json.dumps(carried_out()))
    sys.exit(0)
