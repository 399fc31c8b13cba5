# Set-up, training and tests from a fresh clone; needs make and Python 3.11 to 3.13.
PYTHON ?= python3
BABI ?= data/babi
# More options of the training, such as ARGS='--epochs 2'.
ARGS ?=
TASKS := data/babi/tasks_1-20_v1-2
VENV := .venv

.PHONY: babi test clean

# Data that is there is used as it is, simulated or not, so that a run goes on; else it is fetched; else simulated, which the
# training says at its start, in its record and above its table.
babi: $(VENV)/run
	@if [ "$(BABI)" != data/babi ]; then :; \
	elif [ -e $(TASKS)/SIMULATED.txt ]; then \
		echo "make: data/babi holds SIMULATED data; $(VENV)/bin/python data/get_babi.py puts the released in its place"; \
	elif [ -z "$$(find -L data/babi -name 'qa1_*' 2>/dev/null)" ]; then \
		$(VENV)/bin/python data/get_babi.py || { \
			status=$$?; [ $$status -eq 2 ] || exit $$status; \
			echo "make: training on SIMULATED data, not the released benchmark"; \
			$(VENV)/bin/python data/simulate_babi.py --out data/babi; }; \
	fi
	$(VENV)/bin/python WMemNN_bAbI.py --data "$(BABI)" $(ARGS)

# Two files at a time; the layers, the authors' figures, and a run that goes on, on JAX as well, the layers on torch where it is
# installed, everything else on TensorFlow.
test: $(VENV)/test
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile tests
	KERAS_BACKEND=jax $(VENV)/bin/python -m pytest -n 2 --dist loadfile tests/test_layers.py tests/test_original_babi.py tests/test_original_nlvr.py tests/test_run.py -k 'test_layers or original or more_epochs'
	if $(VENV)/bin/python -c 'import torch' 2>/dev/null; then \
		KERAS_BACKEND=torch $(VENV)/bin/python -m pytest tests/test_layers.py; \
	fi

$(VENV)/run: requirements.txt
	$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("TensorFlow 2.21 needs Python 3.11 to 3.13; give make PYTHON=...")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/test: $(VENV)/run tests/requirements.txt
	$(VENV)/bin/python -m pip install --quiet --requirement tests/requirements.txt
	touch $@

clean:
	rm -rf $(VENV)
