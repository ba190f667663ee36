"""Shell completion: the script asks a hidden `embodkd __complete WORDS... LAST` that reads the YAML files only."""

from __future__ import annotations

from embodkd.cli.errors import Refused
from embodkd.cli.keys import Config, options
from embodkd.cli.verbs import Verb, after, find, other_forms
from embodkd.core.config.registry import near

_BASH = """\
_embodkd() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}" words last
    IFS=' ' read -ra words <<< "$line"
    last=""
    if [[ "$line" != *' ' ]]; then last="${words[-1]}"; unset 'words[-1]'; fi
    COMPREPLY=($(embodkd __complete "${words[@]:1}" "$last" 2>/dev/null))
    # bash splits words at "=": it wants only what follows
    if [[ "$last" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then COMPREPLY=("${COMPREPLY[@]#"${last%=*}="}"); fi
    if [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *[=/.] ]]; then compopt -o nospace; fi
}
complete -o default -F _embodkd embodkd
"""
_ZSH = """\
#compdef embodkd
_embodkd() {
    local -a found
    found=("${(@f)$(embodkd __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -S '' -- ${found:#}
    [[ -n ${found:#} ]] || _files
}
compdef _embodkd embodkd
"""
_FISH = """\
function __embodkd_complete
    set -l before (commandline -opc)
    embodkd __complete $before[2..-1] (commandline -ct) 2>/dev/null
end
complete -c embodkd -f -a '(__embodkd_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def main(words: list[str]) -> int:
    """`embodkd completion SHELL`: print the script."""
    if len(words) != 1 or words[0] not in SCRIPTS:
        what = f"unknown shell {words[0]!r}: {near(words[0], SCRIPTS)}" if words else "name a shell: bash, zsh or fish"
        raise Refused(f"completion: {what}")
    print(SCRIPTS[words[0]], end="")
    return 0


def candidates(words: list[str]) -> list[str]:
    """What may stand in the place of the last of `words` (possibly empty), given the ones before it."""
    *before, last = words or [""]
    verb, rest = find(before)
    if verb is None:
        return [word for word in after(before) if word.startswith(last)]
    # What is being typed may already choose the form: data=...
    verb = find(words)[0] or verb
    found = _of_verb(verb, rest, last)
    return sorted(word for word in found if word.startswith(last))


def _of_verb(verb: Verb, rest: list[str], last: str) -> list[str]:
    if verb.title == "completion":
        return list(SCRIPTS)
    if verb.title == "methods":
        return _methods(rest)
    if verb.config is None:
        return []
    prefix = last[: len(last) - len(last.lstrip("+~"))]
    config = Config(verb.config)
    groups = config.groups()
    key, equals, _ = last.lstrip("+~").partition("=")
    if equals:
        return [f"{prefix}{value}" for value in _values(config, groups, key)]
    chosen = {k: v for k, _, v in (w.partition("=") for w in rest) if k in groups}
    words = [f"{prefix}{k}=" for k, value in config.keys(chosen).items() if not isinstance(value, dict)]
    words += [f"{prefix}{group}=" for group in groups]
    words += [f"{prefix}{other.given}=" for other in other_forms(verb) if other.given]
    return words if last else [w for w in words if "." not in w]


def _values(config: Config, groups: dict[str, str | None], key: str) -> list[str]:
    if key in groups:
        return [f"{key}={option}" for option in options(key)]
    if (config.name, key) == ("reproduce", "slug"):
        return [f"{key}={option}" for option in options("reproduce")]
    if isinstance(config.keys().get(key), bool):
        return [f"{key}=true", f"{key}=false"]
    return []


def _methods(rest: list[str]) -> list[str]:
    from embodkd.methods import method_names

    return list(method_names()) if rest[:1] == ["show"] else ["show", "--json", "--markdown"]
