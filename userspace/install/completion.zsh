#compdef buddyctl
# SPDX-License-Identifier: MIT
# Completion of buddyctl for zsh. Its commands and options, and which of these have what
# value, come from its --help; this file knows what a value of each kind can be.

local tool=$words[1] command='' value='' word line
local -a verbs flags parts	# commands and options are arrays of zsh's own
local -A kinds			# of value, as PATH, by option
local -i i

verbs=(${(f)"$($tool --help 2>/dev/null |
	sed -n '/^commands:/,/^$/s/^  \([a-z]*\)  *\(.*\)/\1:\2/p')"})
for line in ${(f)"$(for word in '' ${verbs%%:*}; do
	$tool ${=word} --help 2>/dev/null
done | sed -n 's/^  \(-.\)\{0,1\},\{0,1\} *\(--[a-z0-9-]*\) \([A-Z][A-Z]*\).*/\1 \2 \3/p' | sort -u)"}; do
	parts=(${=line})
	for word in ${parts[1,-2]}; do
		kinds[$word]=$parts[-1]
	done
done
for ((i = 2; i < CURRENT; i++)); do
	word=$words[i]
	if [[ $word == -- ]]; then
		# another program's words from here on
		shift $i words
		((CURRENT -= i))
		_normal -p buddyctl
		return
	fi
	if [[ -n $value ]]; then
		value=''
	elif [[ $word == -* ]]; then
		value=$kinds[$word]
	elif [[ -z $command && -n ${(M)verbs:#$word:*} ]]; then
		command=$word
	fi
done
if [[ -z $value && $PREFIX == --*=* ]]; then
	value=$kinds[${PREFIX%%=*}]
	compset -P '*='
fi
case $value in
NAME) compadd device process; return ;;
WHEN) compadd always never auto; return ;;
PATH | FILE | SOCKET) _files; return ;;
?*) return 1 ;;
esac
if [[ $PREFIX == -* ]]; then
	flags=(${(f)"$($tool $command --help 2>/dev/null |
		sed -n 's/^ .*\(--[a-z0-9-]*\)\( [A-Z]*\)\{0,1\} *\(.*\)/\1:\3/p')"})
	_describe -o option flags
elif [[ -z $command ]]; then
	_describe command verbs
else
	_files
fi
