#compdef buddyctl
# SPDX-License-Identifier: MIT
# Completion of buddyctl for zsh. What there is to complete comes from its --help, so
# that this file knows no command and no option.

local tool=$words[1] command='' word line
local -a commands options

commands=(${(f)"$($tool --help 2>/dev/null |
	sed -n '/^commands:/,/^$/s/^  \([a-z]*\)  *\(.*\)/\1:\2/p')"})
for word in ${words[2,CURRENT-1]}; do
	if [[ $word == -- ]]; then
		_normal
		return
	fi
	if [[ -z $command && -n ${(M)commands:#$word:*} ]]; then
		command=$word
	fi
done
case $words[CURRENT-1] in
-b | --backend) compadd device process; return ;;
--color) compadd always never auto; return ;;
esac
if [[ $PREFIX == -* ]]; then
	options=(${(f)"$($tool $command --help 2>/dev/null |
		sed -n 's/^ .*\(--[a-z-]*\)[^ ]*\( [A-Z]*\)\{0,1\}  *\(.*\)/\1:\3/p')"})
	_describe -o option options
elif [[ -z $command ]]; then
	_describe command commands
else
	_files
fi
