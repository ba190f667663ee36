"""The trainer: the only training loop outside stable-baselines3. A recipe says what, the trainer does it.

    with RunFolder.open("runs/student", config, resume=True) as run:
        recipe = DAgger(rounds=6).recipe(student, teacher, task, seed=0)
        summary = Trainer(run, seed=0).fit(recipe)            # the student is trained in place
        run.finish(minutes=summary.minutes)

or, in one call, `distill(DAgger(rounds=6), student, teacher, task, run=run, seed=0)`.

It owns devices and processes (through accelerate), precision, accumulation, clipping, schedules, checkpoints, resume,
metrics and progress. On one CPU the result is a function of recipe and seed: a run that was killed at any instant and
resumed ends with the same bits.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core.batch.draws import seed_draws
from embodkd.core.batch.pieces import Piece, prepared_pieces
from embodkd.core.config.ranges import Count, NotNegative, Seed, Whole
from embodkd.core.engine.answers import Answered
from embodkd.core.engine.apart import apart, of_modules, of_optimisers
from embodkd.core.engine.bad_loss import BadLoss
from embodkd.core.engine.layout import channels_last
from embodkd.core.engine.machine import check_machine
from embodkd.core.engine.members import asked, learning_modules
from embodkd.core.engine.moments import carried
from embodkd.core.engine.poisoned import explained, look
from embodkd.core.engine.position import Position, batches, source_folder
from embodkd.core.engine.shardable import check_asked, check_shardable
from embodkd.core.engine.shards import Shard, Shards, only_through_passes
from embodkd.core.engine.state import (
    Kept,
    StoredOptimiser,
    StoredState,
    named,
    pack_random,
    pack_training,
    unpack_optimisers,
    unpack_random,
    unpack_training,
)
from embodkd.core.engine.summary import Summary
from embodkd.core.engine.unread import Unread
from embodkd.core.engine.update import Learner, look_again, smallest_batch, update
from embodkd.core.precision import Name as PrecisionName
from embodkd.core.precision import Precision, as_begun, default_type
from embodkd.core.ranks import alone, join, ranks, was_launched
from embodkd.core.recipe import Context, Recipe, Stage, Step
from embodkd.core.rng import rng_state, seed_everything
from embodkd.core.runs.checkpoint import Checkpoint, restoring
from embodkd.core.runs.folder import RunFolder
from embodkd.core.runs.progress import Progress, progress
from embodkd.core.runs.stopping import Stop, stoppable
from embodkd.core.sources.prefetch import coming


class _State(StoredState):
    """The JSON of a checkpoint."""

    position: Position
    optimisers: list[StoredOptimiser]


class Trainer:
    """Trains recipes.

    run: the folder for checkpoints and metrics (None: nothing is written and nothing can be resumed).
    device: "cpu", "cuda" (ValueError where torch sees none), or "auto" for what accelerate finds.
    precision: "no" (float32), "bf16", "fp16" (with a loss scaler, on any device) or "float64": models and batches are
    in double precision then, and stay so afterwards. "auto" is bf16 where that is faster (see
    `precision.fastest`), else float32; what it was when the run began is in its manifest and holds when it goes on.
    compile: run the models through torch.compile, except roles with taps, whose hooks a compiled module skips; refused
    for batches in pieces and on several processes, which compiled layers would not notice.
    accumulate: each batch is worked through in this many pieces; the update stays the same.
    checkpoint_s: seconds between checkpoints, which are written after a `log_every`-th update or at the end of an
    epoch; 0 means after each epoch. SIGINT and SIGTERM ask for one after the update at hand and end with `Stopped`, a
    second one at once.
    prefetch: so many batches are gathered by a thread while the model learns from the one at hand.
    shard: on several processes each holds a part of the parameters of the "student" (all that learns, and what an
    optimiser remembers of it), of the "teachers" (all that only answers) or of "all", for models that do not fit on one
    device; the update stays the same. Each process builds the models whole in its own memory first and has them whole
    again at the end. ValueError where a recipe cannot be trained so. On one process nothing is shared out.
    log_every: updates between two lines of metrics. quiet: no progress display.
    """

    def __init__(
        self,
        run: RunFolder | None = None,
        *,
        seed: Seed = 0,
        device: Literal["cpu", "cuda", "auto"] = "cpu",
        precision: PrecisionName = "no",
        compile: bool = False,
        accumulate: Count = 1,
        prefetch: Whole = 0,
        shard: Shard | None = None,
        checkpoint_s: NotNegative = 20.0,
        log_every: Count = 20,
        quiet: bool = False,
    ) -> None:
        self._ranks = ranks()
        check_machine(device, compile, accumulate, self._ranks.size)
        check_asked(shard, precision)
        if was_launched():
            join()  # before accelerate, which would give the others a backend for one kind of device only
        from accelerate import Accelerator

        self.run, self.seed, self.accumulate, self.compile = run, seed, accumulate, compile
        self.checkpoint_s, self.log_every, self.quiet, self.prefetch = checkpoint_s, log_every, quiet, prefetch
        # Asked for whatever there is, accelerate would leave ranks that find no card to themselves.
        together_on_cpu = self._ranks.size > 1 and not torch.cuda.is_available()
        self._accelerator = Accelerator(cpu=device == "cpu" or together_on_cpu, mixed_precision="no")
        self._automatic = precision == "auto"  # known when there is a model
        self._precision = Precision("no" if self._automatic else precision, self._accelerator.device)
        self.shard: Shard | None = shard if self._ranks.size > 1 else None
        self._saved_at = 0.0
        self._kept: Kept = {}  # by player: what an earlier stage's optimiser remembers
        self._unread: Unread | None = None

    def fit(self, recipe: Recipe) -> Summary:
        """Train in place until the recipe's end, from the newest checkpoint if the run has one.

        Of several ranks each calls this with its own copy of the recipe; the first one's run folder counts, and all
        begin where that says.
        Raises FloatingPointError naming the term when a loss is not finite (the batch is saved, nothing moved by it).
        """
        if self._automatic:
            begun = as_begun(self.run, self.device, recipe.product) if self.is_main_process else "no"
            self._precision = Precision(self._ranks.broadcast(begun), self.device)
        with default_type(self._precision.dtype):
            if self._precision.dtype is not None:
                for module in (*learning_modules(recipe), *asked(recipe)):
                    module.to(self._precision.dtype)
            return self._fit(recipe)

    def _fit(self, recipe: Recipe) -> Summary:
        start = time.monotonic()
        seed_everything(self.seed)
        self._keeps = self._folder() is not None
        modules = learning_modules(recipe)
        if self.shard is not None:
            check_shardable(recipe, self.shard)
        checkpoint = self._ranks.broadcast(self.run.go_on(_State) if self.run else None)
        at, self._kept = Position(), {}
        if checkpoint is not None:
            at = Position(**checkpoint.state["position"])
            for done in recipe.stages[: at.stage]:
                if hasattr(done, "restore"):
                    done.restore(self._context(at))
        elif self.shard is None:
            self._share_weights(modules)
        shards = None if self.shard is None else Shards(recipe, self.shard, self.device)
        if checkpoint is not None:
            with restoring(checkpoint):
                self._kept = unpack_training(modules, of_modules(checkpoint, modules), checkpoint.state)
                self._precision.restore(checkpoint.state.get("scaler"))
                unpack_random(self._ranks.rank, checkpoint.tensors, checkpoint.state, self.seed, checkpoint.step)
        self._saved_at = time.monotonic()
        summary = Summary(at.updates_before + at.update, 0.0)
        planned = sum(stage.updates() for stage in recipe.stages if isinstance(stage, Stage))
        # Of several ranks none may leave before the others know, and none without a checkpoint need wait for one.
        wanted = self.run is not None and self._ranks.size == 1
        with stoppable(wanted) as stop, progress(planned, "training", done=summary.updates, quiet=self.quiet) as shown:
            for number in range(at.stage, len(recipe.stages)):
                stage = recipe.stages[number]
                if isinstance(stage, Stage):
                    self._stage(stage, at, modules, checkpoint, summary, shown, stop)
                else:
                    self._log(at, self._step(stage, modules, at), summary)
                at = Position(
                    stage=number + 1,
                    trained_stages=at.trained_stages + isinstance(stage, Stage),
                    updates_before=at.updates_before + at.update,
                )
                checkpoint = None
                self._save(at, modules, [], None)
                if stop.asked:
                    stop.leave(self._where(at))
        if shards is not None:
            shards.whole()
        if self.run is not None and self.is_main_process:
            # The kept rollouts served their stages; a finished run needs its weights only.
            shutil.rmtree(self.run.path / "source", ignore_errors=True)
        summary.minutes = self.run.minutes if self.run is not None else (time.monotonic() - start) / 60
        return summary

    @property
    def is_main_process(self) -> bool:
        """Whether this process is the one that writes files and logs."""
        return self._ranks.is_first

    @property
    def device(self) -> torch.device:
        """Where models and batches are put."""
        return self._accelerator.device

    def _where(self, at: Position) -> str:
        assert self.run is not None
        return f"{self.run.path}, update {at.updates_before + at.update}"

    def _context(self, at: Position) -> Context:
        return Context(self._folder(), self.seed, self.device, at.updates_before + at.update)

    def _folder(self) -> Path | None:
        """The first rank's run folder, whether or not this rank was given it too."""
        return self._ranks.broadcast(self.run.path.absolute() if self.run else None)

    def _step(
        self, step: Step, modules: list[nn.Module], at: Position, learners: Sequence[Learner] = ()
    ) -> Mapping[str, float]:
        """A step without gradients: the first rank takes it, for the others it is as if they resumed after it.

        learners: those at work, if it is a step within a stage; they go on with the parameters that there are then.
        """
        context, scalars = self._context(at), None
        if self._ranks.is_first:
            with alone():
                scalars = step(context)
        changed = look_again(learners)
        self._kept = {name: carried(kept, named(modules).values()) for name, kept in self._kept.items()}
        if self._ranks.size > 1:
            self._ranks.wait()
            if not self._ranks.is_first and hasattr(step, "restore"):
                step.restore(context)
            self._share_weights(modules, learners if self._ranks.broadcast(changed) else ())
        return scalars or {}

    def _share_weights(self, modules: list[nn.Module], learners: Sequence[Learner] = ()) -> None:
        """Give all ranks the first one's parameters and buffers, and what is remembered of them."""
        if self._ranks.size > 1:
            # By name: a step may have changed which modules there are.
            optimisers = [learner.optimiser for learner in learners]
            tensors, state = pack_training(modules, optimisers, self._kept) if self._ranks.is_first else ({}, {})
            tensors, state = self._ranks.broadcast(({name: value.cpu() for name, value in tensors.items()}, state))
            if not self._ranks.is_first:
                self._kept = unpack_training(modules, tensors, state)
                look_again(learners)
                unpack_optimisers([learner.optimiser for learner in learners], tensors, state["optimisers"])

    def _stage(
        self,
        stage: Stage,
        at: Position,
        modules: list[nn.Module],
        checkpoint: Checkpoint | None,
        summary: Summary,
        shown: Progress,
        stop: Stop,
    ) -> None:
        total = stage.updates()
        # What a scaler of losses or other processes must know is read in each update anyway.
        alone_on_a_card = self.device.type != "cpu" and self._ranks.size == 1 and self._precision.scaler is None
        self._unread = Unread(self.device) if alone_on_a_card else None
        options: dict[str, Any] = {"processes": self._ranks.size, "compiled": self.compile, "unread": self._unread}
        learners = [
            Learner(player, self.device, self._precision, total, moments=self._kept.pop(player.name, None), **options)
            for player in stage.players
        ]
        channels_last(module for learner in learners for module in learner.modules)
        least = smallest_batch(learners, self._ranks.size, self.accumulate)
        if checkpoint is not None and checkpoint.state["optimisers"]:
            optimisers = [learner.optimiser for learner in learners]
            with restoring(checkpoint):
                unpack_optimisers(optimisers, of_optimisers(checkpoint, optimisers), checkpoint.state["optimisers"])
            self._restore(stage, at)
            for every in stage.every:
                if hasattr(every.step, "restore"):
                    every.step.restore(self._context(at))
        while at.round < stage.rounds:
            refresh = stage.source.refresh
            if at.begins_round and (refresh == "epoch" or (refresh == "never" and at.refills == 0)):
                self._refill(stage, at, summary)
            epochs = 1 if stage.updates_per_round is not None else stage.epochs
            while at.epoch < epochs:
                order = batches(stage, at, self.seed, least, lambda: self._refill(stage, at, summary))
                cut = (self._ranks.rank, self._ranks.size, self.accumulate)
                with closing(coming(stage.source, order, self.prefetch, *cut)) as ready:
                    for index, rows in ready:
                        self._update(stage, learners, index, rows, at, summary, shown)
                        for every in stage.every:
                            if every.due(at.update):
                                self._look()
                                self._log(at, self._step(every.step, modules, at, learners), summary)
                        if stop.asked:
                            self._save(at, modules, learners, stage)
                            stop.leave(self._where(at))
                        if self.checkpoint_s and at.done % self.log_every == 0:
                            self._save_if_due(at, modules, learners, stage)
                at.epoch, at.done = at.epoch + 1, 0
                if at.epoch < epochs or at.round + 1 < stage.rounds:
                    self._save_if_due(at, modules, learners, stage)
            at.round, at.epoch = at.round + 1, 0
        self._look()
        if at.update != total:
            raise RuntimeError(
                f"stage {stage.name!r} made {at.update} updates, {total} were planned: planned_size is wrong"
            )
        self._kept |= {item.player.name: item.optimiser.state for item in learners if item.player.keep_moments}

    def _update(
        self,
        stage: Stage,
        learners: list[Learner],
        index: np.ndarray,
        rows: Sequence[Piece],
        at: Position,
        summary: Summary,
        shown: Progress,
    ) -> None:
        if self._unread is not None:
            self._unread.begin(at.updates_before + at.update, rows)
        seed_draws(self.device, self.seed, at.trained_stages, at.update)
        here = [Piece(piece.batch.to(self.device), piece.portion) for piece in rows]
        with only_through_passes():
            pieces = prepared_pieces(here, stage.prepare)
        playing = [learner for learner in learners if learner.player.plays(at.update)]
        report: dict[str, Tensor] = {}
        memories = [Answered() for _ in pieces] if stage.in_turn else None
        try:
            for group in [[learner] for learner in playing] if stage.in_turn else [playing]:
                with only_through_passes():
                    report |= update(group, pieces, at.update, len(index), memories)
        except BadLoss as error:
            raise explained(error, at.updates_before + at.update, self.run, self._ranks) from error
        self._precision.settle(bool(playing))
        at.update, at.done = at.update + 1, at.done + 1
        summary.updates += 1
        logs = at.update % self.log_every == 0 or at.update == 1
        if logs or (self._unread is not None and self._unread.full):
            self._look()
        if logs:
            scalars = {name: float(value) for name, value in report.items()}
            rates = {f"{item.player.name}/learning_rate": item.rate for item in playing}
            self._log(at, {"round": at.round, **scalars, **rates}, summary)
            shown.advance(0, **{name: value for name, value in scalars.items() if not name.endswith("grad_norm")})
        shown.advance(1)

    def _look(self) -> None:
        """Before anything is written, or made of the weights: raise what is not finite of the updates so far."""
        look(self._unread, self.run, self._ranks)

    def _refill(self, stage: Stage, at: Position, summary: Summary) -> None:
        scalars = stage.source.refill(at.refills)
        at.refills += 1
        if scalars:
            self._log(at, {"round": at.round, **scalars}, summary)

    def _log(self, at: Position, scalars: Mapping[str, float], summary: Summary) -> None:
        summary.last.update(scalars)
        if self.run is not None and scalars and self.is_main_process:
            self.run.log(at.updates_before + at.update, **scalars)

    def _restore(self, stage: Stage, at: Position) -> None:
        """Give the source back what it had, and remove what it got after that: it is about to get it again."""
        folder = source_folder(self._folder(), at.stage)
        stage.source.restore(folder, at.refills)
        self._ranks.first_does(lambda: stage.source.tidy(folder))

    def _save_if_due(self, at: Position, modules: list[nn.Module], learners: list[Learner], stage: Stage) -> None:
        # The first rank's clock counts: what is saved is put together by all.
        if self._ranks.broadcast(time.monotonic() - self._saved_at >= self.checkpoint_s):
            self._save(at, modules, learners, stage)

    def _save(self, at: Position, modules: list[nn.Module], learners: list[Learner], stage: Stage | None) -> None:
        self._look()
        random = self._ranks.gather(rng_state())  # every rank draws from its own
        if not self._keeps or (self.shard is None and not self.is_main_process):
            return
        step = at.updates_before + at.update
        tensors, state = pack_training(modules, [learner.optimiser for learner in learners], self._kept)
        tensors, shards = apart(tensors, step, self._ranks)
        if not self.is_main_process:
            if shards is not None:
                shards(None)
            return
        assert self.run is not None
        folder = source_folder(self.run.path, at.stage)
        if stage is not None:
            stage.source.save(folder)
        random_tensors, random_state = pack_random(random)
        self.run.save_checkpoint(
            step,
            {**tensors, **random_tensors},
            {"position": vars(at), "scaler": self._precision.state(), **state, **random_state},
            shards,
        )
        if stage is not None:
            stage.source.tidy(folder)
        self._saved_at = time.monotonic()
