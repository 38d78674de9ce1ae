"""Does swapping layers carry a skill into a language in which it was never taught? A study on models made for it."""
