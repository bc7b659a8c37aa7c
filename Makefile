# Every target first makes .venv, and makes it again when the dependencies have changed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
NOTEBOOKS ?= notebooks/*.ipynb

# Threads that wait leave their core to others: a notebook may import torch before minivos, which asks for it too.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test lab notebooks course site slides screencasts studies clean

demo: $(STAMP)  # segment the sample clips; write out/report.html and explorers beside it
	$(BIN)/minivos demo

test: $(STAMP)  # style, types, unit tests, then every notebook against its stored outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile
	OMP_NUM_THREADS=1 $(BIN)/pytest --nbval --nbval-current-env --nbval-cell-timeout 600 \
		--numprocesses 2 --dist loadscope notebooks

lab: $(STAMP)  # open the notebooks
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks

notebooks: $(STAMP)  # run notebooks again and store their outputs: all, or NOTEBOOKS=notebooks/03*.ipynb
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace $(NOTEBOOKS) \
		--ExecutePreprocessor.timeout=600 \
		--ExecutePreprocessor.record_timing=False \
		--ExecutePreprocessor.store_widget_state=False \
		--ExecutePreprocessor.extra_arguments=--IPKernelApp.extensions=minivos.viewing.picture

course: $(STAMP)  # write the student, the solution and the graded edition of the notebooks, out/course/
	$(BIN)/python -m minivos.course.editions

site: $(STAMP)  # write course, papers and reference as a site that needs no network, out/site/ (Python 3.11 or later)
	$(BIN)/python docs/site/build.py

slides: $(STAMP)  # write the slide decks of the six sessions, out/slides/: HTML, and PDF where there is a Chromium
	$(BIN)/python teaching/slides.py

screencasts: $(STAMP)  # film the guided tour of each paper in the explorer, out/screencasts/: needs a Chromium
	$(BIN)/python docs/screencasts.py

studies: $(STAMP)  # run what the tables of the studies lack (hours, if all), and print what they show
	for study in studies/*.py; do echo; echo $$study; $(BIN)/python $$study || exit 1; done

clean:  # remove the environment and everything the commands above wrote
	rm -rf .venv out build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[test]'
	touch $@
