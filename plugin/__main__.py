"""``python -m turnswap`` is the command ``turnswap``."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="turnswap")
