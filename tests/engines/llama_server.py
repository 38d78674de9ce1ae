"""llama.cpp's own server, as the package xllamacpp has compiled it in: ``llama_server.py GGUF PORT``.

Run by ``.venv-llamacpp``, which holds nothing else.
"""

import sys
import threading

import xllamacpp

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.port = int(sys.argv[2])
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
parameters.n_parallel = 4
parameters.n_ctx = 4 * 2048  # shared by the four slots
server = xllamacpp.Server(parameters)  # listens on loopback, in threads of its own
threading.Event().wait()
