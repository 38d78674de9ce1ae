"""How lm-eval and mergekit come to know us: a start-up hook, registration, and the command that switches it on."""
