# Two commands: `make demo` does the main job, `make test` proves that it still works.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := dev,diffusion,export,hand,gl,bullet,lerobot,objects,ray,vision
STAMP := $(VENV)/.installed

.PHONY: install demo demo-resip test faults lerobot browser fuzz lint smoke bench table reproduce dry clean

install: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $(STAMP)

demo: install
	$(BIN)/embodkd demo

# ResiP whole on the peg: demonstrations, base, residual, a student by the camera on the hand, its blind twin, a film
RESIP := runs/demo_resip
EMBODKD := $(BIN)/embodkd
FOLLOW := teacher=$(RESIP)/resip student=camera_chunk method=dagger method.rounds=14 num_envs=64 resume=true
demo-resip: install
	$(EMBODKD) record task=peg_assembly task.image_size=48 disturb=0.004 run=$(RESIP)/demos resume=true
	$(EMBODKD) distill student demos=$(RESIP)/demos student=mlp_chunk student.width=256 student.blocks=2 \
		student.vectors=[proprio,privileged,relations] student.dropout=0.0 student.error=absolute method.rounds=8 \
		method.updates_per_round=500 method.batch_size=64 method.learning_rate=0.001 method.allow_privileged=true \
		run=$(RESIP)/base resume=true
	$(EMBODKD) train residual base=$(RESIP)/base residual.alpha=0.2 end_when_lost=true target=0.98 \
		evaluate_every=32000 evaluate_episodes=128 run=$(RESIP)/resip resume=true
	$(EMBODKD) distill student $(FOLLOW) student.cameras=[wrist_rgb] run=$(RESIP)/student
	$(EMBODKD) distill student $(FOLLOW) student.cameras=[] run=$(RESIP)/blind
	$(EMBODKD) rollout policy=$(RESIP)/student beside=$(RESIP)/resip out=$(RESIP)/videos
	$(EMBODKD) report $(RESIP)

test: install
	$(BIN)/pytest -n 2

# processes that are really killed, and many of them at once, and whatever else takes long; counts what it tried
faults: install
	$(BIN)/pytest -n 2 -m faults

# there and back with lerobot itself, in an environment of its own (Python 3.12, some gigabytes)
lerobot: install
	test -x .venv-lerobot/bin/python || python3.12 -m venv .venv-lerobot
	.venv-lerobot/bin/pip install --quiet --disable-pip-version-check ./plugins/lerobot_policy_embodkd "lerobot[dataset]==0.6.1"
	LEROBOT_PYTHON=$(CURDIR)/.venv-lerobot/bin/python $(BIN)/pytest -m lerobot tests/round_trip

# the report in a browser: widths, paper, what axe-core finds; the browser is the system's
browser: install
	@for program in chromium pdftotext npm; do command -v $$program > /dev/null || \
		{ echo "browser: no $$program here; apt-get install chromium poppler-utils npm"; exit 2; }; done
	test -f .browser/node_modules/axe-core/axe.min.js || npm install --silent --prefix .browser axe-core@4
	$(BIN)/pytest -m browser tests/evaluation/report

# the property tests on many more examples, new ones every time
fuzz: install
	$(BIN)/pytest --hypothesis-profile fuzz $$(grep -rl '@given' tests)

# types are checked on the installed package: only there do envs/ and policies/ stand below embodkd
lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf $(VENV)/typed
	$(BIN)/pip install --quiet --no-deps --target $(VENV)/typed .
	cd $(VENV)/typed && ../bin/mypy --config-file ../../pyproject.toml -p embodkd

# every command for every task, with budgets too small to learn
smoke: install
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/smoke.sh

# speed, side by side with others: some minutes
bench: install
	$(BIN)/python -m benchmarks

# the learning table: hours; each finished cell is stored, a second call continues
table: install
	$(BIN)/embodkd reproduce learning jobs=2

# every reproduction table that is missing or stale: hours; each trained cell is stored, a second call continues
reproduce: install
	$(BIN)/embodkd reproduce stale=remake jobs=2; $(BIN)/embodkd methods --markdown > docs/methods.md

# every table of the published scale, without its data: two updates of each arm, some minutes
dry: install
	set -e; for file in configs/full/*.yaml configs/full_systems/*.yaml; do \
		$(BIN)/embodkd reproduce $$(basename $$file .yaml) full=true dry_run=true; done

clean:
	rm -rf $(VENV) runs
