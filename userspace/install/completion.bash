# SPDX-License-Identifier: MIT
# Completion of buddyctl for bash. Its commands and options, and which of these have what
# value, come from its --help; this file knows what a value of each kind can be.

# The commands of the tool $1.
_buddyctl_commands() {
	"$1" --help 2>/dev/null | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'
}

# The kind of value, as PATH, that the option $2 of any command of the tool $1 has.
_buddyctl_kind() {
	local command

	for command in '' $(_buddyctl_commands "$1"); do
		"$1" $command --help 2>/dev/null
	done | sed -n 's/^  \(-.\)\{0,1\},\{0,1\} *\(--[a-z0-9-]*\) \([A-Z][A-Z]*\).*/ \1 \2 \3/p' |
		grep -m 1 -e " $2 " | sed 's/.* //'
}

_buddyctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} tool=${COMP_WORDS[0]} word command='' value='' i

	COMPREPLY=()
	# bash has --color=always as three words
	[[ $cur == = ]] && cur=''
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
		if [[ -n $value ]]; then
			[[ $word == = ]] || value=''
		elif [[ $word == -* ]]; then
			value=$(_buddyctl_kind "$tool" "$word")
		elif [[ -z $command ]] && _buddyctl_commands "$tool" | grep -qx -e "$word"; then
			command=$word
		fi
	done
	case $value in
	NAME) mapfile -t COMPREPLY < <(compgen -W 'device process' -- "$cur"); return ;;
	WHEN) mapfile -t COMPREPLY < <(compgen -W 'always never auto' -- "$cur"); return ;;
	PATH | FILE | SOCKET) mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames 2>/dev/null; return ;;
	?*) return ;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$("$tool" $command --help 2>/dev/null |
			sed -n 's/^ .*\(--[a-z0-9-]*\).*/\1/p')" -- "$cur")
	elif [[ -z $command ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_buddyctl_commands "$tool")" -- "$cur")
	else
		compopt -o default 2>/dev/null
	fi
}

complete -F _buddyctl buddyctl
