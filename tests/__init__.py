import os

# Two workers on two cores, and models that are tiny: more threads than one would only wait for each other, spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
