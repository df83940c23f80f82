package main

import (
	"io"

	"github.com/urfave/cli/v2"
)

// The scripts ask the program itself what may follow (completion_words.go says how), and the shell for names of files.
const bashCompletion = `# bash completion of pailfs; load with: source <(pailfs completion bash)
_pailfs() {
	local rest=${COMP_LINE:0:COMP_POINT} words=() word i cur kept line out=()
	# readline parts words at = and : as well, pailfs does not.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		case $rest in
		[[:space:]]*)
			rest=${rest#"${rest%%[![:space:]]*}"}
			words+=("")
			;;
		esac
		[ ${#words[@]} -gt 0 ] || words=("")
		word=${COMP_WORDS[i]}
		word=${word:0:${#rest}}
		rest=${rest#"$word"}
		words[${#words[@]}-1]+=$word
	done
	for i in "${!words[@]}"; do
		words[i]=${words[i]//[\\\"\']/}
	done
	cur=${words[${#words[@]}-1]}
	kept=${cur%"${cur##*[=:]}"}
	while IFS= read -r line; do
		out+=("$line")
	done < <("${words[@]:0:1}" __complete "${words[@]:1}" 2>/dev/null)
	COMPREPLY=()
	for line in "${out[@]:1}"; do
		word=${line%%$'\t'*}
		COMPREPLY+=("${word#"$kept"}")
	done
	case ${out[0]%%$'\t'*} in
	words)
		compopt +o default +o bashdefault 2>/dev/null
		for i in "${!COMPREPLY[@]}"; do
			case ${COMPREPLY[i]} in
			*[!A-Za-z0-9_./,:=@%+-]*) printf -v "COMPREPLY[i]" %q "${COMPREPLY[i]}" ;;
			esac
		done
		case ${COMPREPLY[*]} in
		*[[:space:]]*) ;;
		*=) compopt -o nospace 2>/dev/null ;; # its value follows
		esac
		;;
	directories)
		compopt +o default +o bashdefault -o filenames -o plusdirs 2>/dev/null
		;;
	files)
		[ ${#COMPREPLY[@]} -gt 0 ] || return 0 # bash's own completion does it
		while IFS= read -r line; do
			COMPREPLY+=("$line")
		done < <(compgen -f -- "${cur#"$kept"}")
		compopt -o filenames 2>/dev/null
		;;
	esac
}
complete -o bashdefault -o default -F _pailfs pailfs
`

const zshCompletion = `#compdef pailfs
# zsh completion of pailfs; load with: source <(pailfs completion zsh)
_pailfs() {
	local -a lines shut open
	local line word about part
	lines=("${(@f)$("${(Q)words[1]}" __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
	for line in "${(@)lines[2,-1]}"; do
		word=${line%%$'\t'*}
		about=${line#*$'\t'}
		if [[ $word == *= ]]; then
			open+=("${word//:/\\:}:$about")
		else
			shut+=("${word//:/\\:}:$about")
		fi
	done
	(( $#shut == 0 )) || _describe -t words pailfs shut
	(( $#open == 0 )) || _describe -t words pailfs open -S ''
	# What is before the part that names a file, as in --config=FILE.
	part=${lines[1]#*$'\t'}
	(( $#PREFIX <= $#part )) || compset -p $(( $#PREFIX - $#part ))
	case ${lines[1]%%$'\t'*} in
	files) _files ;;
	directories) _files -/ ;;
	esac
}
if [[ ${funcstack[1]} == _pailfs ]]; then
	_pailfs "$@"
else
	compdef _pailfs pailfs
fi
`

const fishCompletion = `# fish completion of pailfs; load with: pailfs completion fish | source
function __pailfs_complete
	set -l words (commandline -opc)
	set -l program $words[1]
	set -e words[1]
	set -l token (commandline -ct)
	set -l cur (string unescape -- "$token" 2>/dev/null)
	set -q cur[1]; or set cur "$token"
	set -l lines ($program __complete $words "$cur" 2>/dev/null)
	set -q lines[1]; or return
	set -l kind (string split \t -- $lines[1])
	set -e lines[1]
	set -q lines[1]; and printf '%s\n' $lines
	set -l part "$kind[2]"
	set -l before (string sub -l (math (string length -- "$cur") - (string length -- "$part")) -- "$cur")
	switch $kind[1]
		case files
			for path in (__fish_complete_path $part)
				echo "$before$path"
			end
		case directories
			for path in (__fish_complete_directories $part '')
				echo "$before$path"
			end
	end
end
complete -c pailfs -f -k -a '(__pailfs_complete)'
`

func completionCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a completion script", ArgsUsage: "bash|zsh|fish",
		CustomHelpTemplate: plainHelp(nil, `   It completes commands, options and their values, mount points, named mounts and files. The packages install it.

EXAMPLES:
   source <(pailfs completion bash)   in ~/.bashrc
   source <(pailfs completion zsh)    in ~/.zshrc, behind compinit
   pailfs completion fish | source    in ~/.config/fish/config.fish
`),
		Action: func(c *cli.Context) error {
			script, err := completionScript(c)
			if err != nil {
				return err
			}
			_, err = io.WriteString(std.out, script)
			return err
		},
	}
}

func completionScript(c *cli.Context) (string, error) {
	switch {
	case c.NArg() != 1:
		return "", usagef(doing(c), "one argument is needed: bash, zsh or fish")
	case c.Args().First() == "bash":
		return bashCompletion, nil
	case c.Args().First() == "zsh":
		return zshCompletion, nil
	case c.Args().First() == "fish":
		return fishCompletion, nil
	}
	return "", usagef(doing(c), "no script for %q: bash, zsh or fish", c.Args().First())
}
