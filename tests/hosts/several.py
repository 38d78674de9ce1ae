"""Runs several commands of lm_eval, one after the other, in one Python of its own; not imported.

Each is what its console script runs. What the start-up hook does at the start of a Python is done once, when lm_eval is
first imported, as it would be for each of them alone; lm-eval's own YAMLs are read once instead of every time.

Takes a JSON list of argument lists; prints a JSON list of [exit status, standard output].
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    told = []
    commands = json.loads(sys.argv[1])
    sys.path.pop(0)  # the folder of the tests
    from lm_eval.__main__ import cli_evaluate

    runpy.run_path(str(Path(__file__).parents[1] / "started_host.py"))["find_out_once"]()
    for command in commands:
        sys.argv = ["lm_eval", *command]
        status: object = 0
        with contextlib.redirect_stdout(io.StringIO()) as out:
            try:
                if command[0] == "-c":  # a program that uses lm_eval
                    exec(command[1], {})
                else:
                    cli_evaluate()
            except SystemExit as end:
                status = end.code or 0
        told.append([status, out.getvalue()])
    print(json.dumps(told))
