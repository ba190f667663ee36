"""N copies of one MuJoCo model, stepped together in C threads, with state and parameters as live numpy rows."""

from __future__ import annotations

import os
from pathlib import Path

import mujoco
import mujoco.batch
import numpy as np
from embodkd.envs.diverged import SimulationDiverged, cause_of
from embodkd.envs.sim import forks

_WRITTEN = ("qpos", "qvel", "ctrl", "mocap_pos", "mocap_quat", "qfrc_applied", "xfrc_applied")
_VEL = int(mujoco.mjtStage.mjSTAGE_VEL)
_BAD_WARNINGS = [
    int(w)
    for w in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    )
]


class BatchSim:
    """A thin, typed hold on ``mujoco.batch.Batch``.

    ``view(name)`` gives a live array over a data field, (N, ...); ``parameter(name)`` gives per-copy values of a
    model field, which ``restore(ids)`` sets back to the model's own.  Stepping ends with positions and velocities of
    the new state (``mjSTAGE_VEL``), so a view never lags behind.  In a child of ``fork`` it goes on from the same state
    with threads of its own.
    """

    def __init__(
        self, model: mujoco.MjModel, num_envs: int, *, threads: int = 0, dump_dir: str = "runs/diverged"
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}")
        self.model = model
        self.num_envs = num_envs
        self._dump_dir, self._threads = Path(dump_dir), threads
        self._views: dict[str, np.ndarray] = {}
        self._parameters: dict[str, np.ndarray] = {}
        self._pool: mujoco.batch.Batch | None = self._opened()
        self._last_state = self._pool.state.copy()
        self._forked = False
        forks.tell(self)

    def _opened(self) -> mujoco.batch.Batch:
        return mujoco.batch.Batch(self.model, self.num_envs, nthread=self._threads, persistent=True)

    @property
    def _batch(self) -> mujoco.batch.Batch:
        if self._pool is None:
            raise ValueError("this simulation is closed; make it anew")
        if self._forked:
            self._reopen()
        return self._pool

    def forked(self) -> object:
        """Called in a child of ``fork``, where the pool has no threads; gives the pool, which must never be freed."""
        self._forked = self._pool is not None
        return self._pool

    def _reopen(self) -> None:
        assert self._pool is not None
        self._forked, state, parameters, views = False, self._pool.state, self._parameters, list(self._views)
        self._pool, self._parameters, self._views = self._opened(), {}, {}
        for name, values in parameters.items():
            self.parameter(name)[:] = values
        for name in views:
            self.view(name)
        self._resume(state)

    def close(self) -> None:
        """Free the copies and their threads; harmless twice."""
        self._pool = None
        self._views.clear()
        self._parameters.clear()

    @property
    def threads(self) -> int:
        """How many threads work at once, here and at pictures."""
        return self._threads or len(os.sched_getaffinity(0))

    @property
    def state(self) -> np.ndarray:
        """Everything the future of a copy depends on, except its parameters: (N, mj_stateSize), live."""
        return self._batch.state

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The model fields that differ between copies so far, by name."""
        assert self._batch is not None
        return self._parameters

    def view(self, name: str) -> np.ndarray:
        """Live (N, ...) array of a data field; state fields may be written, derived ones are read-only."""
        batch = self._batch
        if name not in self._views:
            self._views[name] = batch.bind(name)
        return self._views[name]

    def parameter(self, name: str) -> np.ndarray:
        """Live per-copy values of a model field (``opt.gravity`` for options), (N, ...)."""
        batch = self._batch
        if name not in self._parameters:
            self._parameters[name] = batch.expand(name)
        return self._parameters[name]

    def restore(self, ids: np.ndarray) -> None:
        """Give the copies ``ids`` the model's own parameters again."""
        for name, values in self.parameters.items():
            owner, field = (self.model.opt, name[4:]) if name.startswith("opt.") else (self.model, name)
            values[ids] = np.asarray(getattr(owner, field)).reshape(values.shape[1:])

    def reset(self, ids: np.ndarray | None = None) -> None:
        """Copies ``ids`` (sorted, unique; None for all) take the model's defaults; then write rows, ``forward``."""
        self._batch.reset(ids=ids, stage=int(mujoco.mjtStage.mjSTAGE_NONE))

    def constants(self, ids: np.ndarray | None = None) -> None:
        """Recompute the constants that follow from changed masses, sizes and gains."""
        radii, kinds = (self._parameters.get(name) for name in ("geom_rbound", "geom_type"))
        kept = None if radii is None else radii.copy()
        self._batch.set_const(ids=ids)
        if radii is not None and kinds is not None and kept is not None:
            # MuJoCo gives each mesh the radius of the mesh that was compiled there
            np.copyto(radii, kept, where=kinds == mujoco.mjtGeom.mjGEOM_MESH)

    def forward(self, ids: np.ndarray | None = None) -> None:
        """Make positions and velocities current after the state was written."""
        self._batch.forward(ids=ids, stage=_VEL)

    def step(self, substeps: int) -> None:
        """Advance every copy; raises ``SimulationDiverged`` with the copies whose numbers are no longer finite."""
        batch = self._batch
        np.copyto(self._last_state, batch.state)
        warned_before = batch.warning[:, _BAD_WARNINGS, 1].sum()
        try:
            batch.step(nstep=substeps, stage=_VEL)
        except mujoco.batch.SimulationError as error:
            self._raise_diverged(np.asarray(error.ids))
        warnings = batch.warning[:, _BAD_WARNINGS, 1]
        if warnings.sum() > warned_before or not np.isfinite(batch.state).all():
            finite = np.isfinite(batch.state).all(axis=1)
            self._raise_diverged(np.flatnonzero(warnings.any(axis=1) | ~finite))

    def jacobian(self, body: int, point_N3: np.ndarray, ids: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Translational and rotational Jacobians of world points on a body, each (n, 3, nv)."""
        return self._batch.jac(body, point_N3, ids=ids)

    def ray(
        self,
        origin: np.ndarray,
        direction: np.ndarray,
        *,
        groups: np.ndarray | None,
        ids: np.ndarray | None,
        normals: bool,
    ) -> tuple[np.ndarray, ...]:
        """Distances (n, R; -1 for a miss), geom ids (n, R) and, when asked for, unit normals (n, R, 3)."""
        return self._batch.ray(origin, direction, geomgroup=groups, ids=ids, normal=normals)

    def penetration(self, ids: np.ndarray) -> np.ndarray:
        """How deep (m) bodies are in each other in copies ``ids``, (n,); 0 where nothing touches."""
        data = mujoco.MjData(self.model)
        found = np.zeros(len(ids))
        for row, copy in enumerate(ids):
            contacts = self._batch.get_data(int(copy), data).contact
            found[row] = max(0.0, -contacts.dist.min(initial=0.0))
        return found

    def touched(self, body: int, ids: np.ndarray) -> list[set[int]]:
        """Which bodies another one touches in each of the copies ``ids``; 0 is the world. One by one: for a few."""
        data, found = mujoco.MjData(self.model), list[set[int]]()
        for copy in ids:
            pairs = self.model.geom_bodyid[self._batch.get_data(int(copy), data).contact.geom]
            found.append({int(one) for pair in pairs if body in pair for one in pair} - {body})
        return found

    def snapshot(self, copy: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """One copy as a plain model and data, for MuJoCo's renderer or any ``mj_`` function."""
        model = self._batch.get_model(copy)
        data = self._batch.get_data(copy)
        mujoco.mj_forward(model, data)
        return model, data

    def state_dict(self) -> dict[str, np.ndarray]:
        """State and parameters of all copies as plain arrays."""
        return {
            "state": self.state.copy(),
            **{f"parameter/{k}": v.copy() for k, v in self.parameters.items()},
        }

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue exactly from ``state_dict``."""
        for key, values in arrays.items():
            if key.startswith("parameter/"):
                self.parameter(key.removeprefix("parameter/"))[:] = values
        self._resume(arrays["state"])

    def _resume(self, state: np.ndarray) -> None:
        if self._parameters:
            self.constants()
        self.state[:] = state
        self.forward()

    def _raise_diverged(self, copies: np.ndarray) -> None:
        self._dump_dir.mkdir(parents=True, exist_ok=True)
        dump = self._dump_dir / f"copy_{copies[0]}_state.npz"
        np.savez(
            dump,
            copies=copies,
            state=self._last_state[copies],
            **{name.replace("opt.", "opt_"): values[copies] for name, values in self._parameters.items()},
        )
        raise SimulationDiverged([int(copy) for copy in copies], self._cause(int(copies[0])), dump)

    def _cause(self, copy: int) -> str:
        """What most likely made a copy diverge, from its state before the step."""
        model, data = self.model, mujoco.MjData(self.model)
        mujoco.mj_setState(model, data, self._last_state[copy], mujoco.mjtState.mjSTATE_INTEGRATION)
        before = {name: getattr(data, name) for name in _WRITTEN}
        dof = int(np.abs(data.qvel).argmax())
        joint = model.joint(int(model.dof_jntid[dof]))
        fastest = f"joint {joint.name or joint.id} was the fastest, at {abs(data.qvel[dof]):.3g} rad/s or m/s"
        return cause_of(before, {name: values[copy] for name, values in self._parameters.items()}, fastest)
