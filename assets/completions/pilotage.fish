# The completions of the installed version.
pilotage completions fish | source
