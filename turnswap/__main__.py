"""``python -m turnswap`` is the command ``turnswap``."""

from .commands.main import main

if __name__ == "__main__":
    main(prog_name="turnswap")
