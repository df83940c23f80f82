package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
)

// The scripts ask the program itself what can follow, and fall back to file names: most arguments are directories.
const bashCompletion = `# bash completion of pailfs; load with: source <(pailfs completion bash)
_pailfs() {
	local word="${COMP_WORDS[COMP_CWORD]}" candidates
	local -a line=("${COMP_WORDS[@]:0:COMP_CWORD}")
	if [[ $word == -* ]]; then
		line+=("$word")
	fi
	candidates=$("${line[@]}" --generate-bash-completion 2>/dev/null)
	COMPREPLY=($(compgen -W "$candidates" -- "$word"))
}
complete -o bashdefault -o default -F _pailfs pailfs
`

const zshCompletion = `#compdef pailfs
# zsh completion of pailfs; load with: source <(pailfs completion zsh)
_pailfs() {
	local -a line candidates
	line=("${(@)words[1,CURRENT-1]}")
	if [[ "${words[CURRENT]}" == -* ]]; then
		line+=("${words[CURRENT]}")
	fi
	candidates=("${(@f)$("${line[@]}" --generate-bash-completion 2>/dev/null)}")
	if [[ -n "${candidates[1]}" ]]; then
		compadd -- "${candidates[@]%%:*}"
	fi
	_files
}
compdef _pailfs pailfs
`

func completionCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a completion script", ArgsUsage: "bash|zsh|fish",
		BashComplete: func(*cli.Context) { fmt.Fprintln(std.out, "bash\nzsh\nfish") },
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
		return c.App.ToFishCompletion()
	}
	return "", usagef(doing(c), "no script for %q: bash, zsh or fish", c.Args().First())
}
