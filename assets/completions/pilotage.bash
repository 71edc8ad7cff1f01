# Loaded at the first completion of `pilotage`, whose completions are those of the installed version.
source <(pilotage completions bash)
