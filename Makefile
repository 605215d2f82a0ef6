# make demo: install, index samples/ and search it in every direction
# make test: install, lint, types and the whole fast test suite

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-app test-scale test-slow lint bench bench-quick fuzz clean

# one search of the demo, as it would be typed in samples/
define search
	@echo; echo '$$ multimodal search $(1)'; cd samples && ../$(BIN)/multimodal search $(1)
endef

demo: .venv/.ready
	@echo; echo '$$ multimodal index samples'; $(BIN)/multimodal index samples
	$(call search,"a cup of coffee" -k 4)
	$(call search,"a rocket on the launch pad" --in video -k 2)
	$(call search,"thunder and rain" --in audio -k 3)
	$(call search,pictures/horse.png --in audio -k 3)
	$(call search,sounds/drum-kit.ogg --in image -k 3)
	$(call search,pictures/honey-bee.jpg --in text -k 2)
	@echo; echo "These were samples. Your own: $(BIN)/multimodal index FOLDER, then search from inside it."

# two processes of one thread each: two that take all cores for every small matrix wait for each other
test: .venv/.ready-test lint
	@echo "== Tests (a few minutes)"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: .venv/.ready-test
	@$(BIN)/python -m pytest -m slow

# the page in a real browser; needs chromium (apt-get install chromium)
test-app: .venv/.ready-test
	@$(BIN)/python -m pip install --quiet -e '.[test-app]'
	@$(BIN)/python -m pytest tests/app

# shared libraries and a cluster of two nodes on this machine; a few minutes
test-scale: .venv/.ready-test
	@$(BIN)/python -m pip install --quiet -e '.[test-scale]'
	@$(BIN)/python -m pytest tests/scale -m slow

# damaged files against each reader, half of the readers beside the other half
SECONDS ?= 60
fuzz: .venv/.ready-test
	@echo "== Damaged files, $(SECONDS) s for each reader"
	@$(BIN)/python -m tests.hostile.fuzz image text html table --seconds $(SECONDS) & first=$$!; \
		$(BIN)/python -m tests.hostile.fuzz video audio subtitle pdf docx --seconds $(SECONDS); \
		second=$$?; wait $$first && exit $$second

lint: .venv/.ready-test
	@echo "== Style and types"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# ratios against plain loops beside the committed ones, three minutes; for a machine that does nothing else
bench-quick: .venv/.ready-test
	@$(BIN)/python -m benchmarks.quick

bench: .venv/.ready-test
	@$(BIN)/python -m benchmarks.pipeline
	@$(BIN)/python -m benchmarks.search
	@$(BIN)/python -m benchmarks.start

# pip is asked for its own progress bar: torch is a download of a few gigabytes
.venv/.ready: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python >= 3.10 is needed: apt install python3 python3-venv"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "Python >= 3.10 is needed; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || { echo "== Making .venv"; $(PYTHON) -m venv .venv \
		|| { rm -rf .venv; echo "The venv module is missing: apt install python3-venv"; exit 2; }; }
	@echo "== Installing multimodal and what it stands on into .venv (about 5 GB with torch, a few minutes, once)"
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --progress-bar on -e . | grep -E --line-buffered '^(Collecting|  Downloading|Installing|Successfully)' || true
	@$(BIN)/python -c 'import multimodal, open_clip, faiss, av, onnxruntime' && touch $@

.venv/.ready-test: .venv/.ready
	@echo "== Installing the test tools into .venv"
	@$(BIN)/python -m pip install --quiet -e '.[test]'
	@touch $@

clean:
	rm -rf .venv build samples/.multimodal
