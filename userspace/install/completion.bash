# SPDX-License-Identifier: MIT
# Completion of buddyctl for bash. What there is to complete comes from its --help, so
# that this file knows no command and no option.

_buddyctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word command='' i
	local tool=${COMP_WORDS[0]}

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $word == -- ]]; then
			# another program's words from here on
			if ((i + 1 == COMP_CWORD)); then
				mapfile -t COMPREPLY < <(compgen -c -- "$cur")
			else
				compopt -o default 2>/dev/null
			fi
			return
		fi
		if [[ -z $command ]] && "$tool" --help 2>/dev/null | grep -q "^  $word  *[a-z]"; then
			command=$word
		fi
	done
	case $prev in
	-b | --backend) mapfile -t COMPREPLY < <(compgen -W 'device process' -- "$cur"); return ;;
	--color) mapfile -t COMPREPLY < <(compgen -W 'always never auto' -- "$cur"); return ;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$("$tool" $command --help 2>/dev/null |
			sed -n 's/^ .*\(--[a-z-]*\).*/\1/p')" -- "$cur")
	elif [[ -z $command ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$("$tool" --help 2>/dev/null |
			sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')" -- "$cur")
	else
		compopt -o default 2>/dev/null
	fi
}

complete -F _buddyctl buddyctl
