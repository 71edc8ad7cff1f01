#compdef pilotage
# The completions of the installed version.
source <(pilotage completions zsh)
_pilotage "$@"
