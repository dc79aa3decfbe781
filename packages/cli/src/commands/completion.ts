import type { Client } from '@rota/contract';
import { Argument, type Command } from 'commander';
import type { Cli } from '../cli.ts';
import { candidates } from '../complete.ts';
import { oneLine } from '../output.ts';

/** A shell that waits for a server feels broken, so names come only from one that answers at once. */
const LOOKUP_MS = 1_000;

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

export function addCompletionCommands(program: Command, cli: Cli): void {
  program
    .command('completion')
    .description('print the completion script of a shell')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .addHelpText('after', INSTALL)
    .action((shell: Shell) => cli.ports.out.write(SCRIPTS[shell]));
  program
    .command('complete', { hidden: true })
    .description('what may follow the words that were typed; the completion scripts ask this')
    .argument('[words...]')
    .action(async (words: string[]) => {
      for (const { word, description } of await resolved(program, words, cli)) {
        cli.ports.out.write(`${word}\t${oneLine(description, 80)}\n`);
      }
    });
}

const INSTALL = `
Install it:
  bash:  rota completion bash > ~/.local/share/bash-completion/completions/rota
  zsh:   rota completion zsh > "\${fpath[1]}/_rota"
  fish:  rota completion fish > ~/.config/fish/completions/rota.fish`;

/** How the scripts are told to complete names of files themselves. */
const FILES = ':files';

async function resolved(
  program: Command,
  words: readonly string[],
  cli: Cli,
): Promise<{ word: string; description: string }[]> {
  const found = candidates(program, words);
  if (found.kind === 'words') return found.words.filter(({ word }) => word.startsWith(words.at(-1) ?? ''));
  if (found.kind === 'files') return [{ word: FILES, description: '' }];
  if (found.kind === 'nothing') return [];
  const typed = words.at(-1) ?? '';
  try {
    const names = await lookUp(cli.connect({}), found.kind, typed);
    return names.filter(({ word }) => word.startsWith(typed));
  } catch {
    return [];
  }
}

async function lookUp(client: Client, kind: 'jobs' | 'agents' | 'runs' | 'tokens', prefix: string) {
  const signal = AbortSignal.timeout(LOOKUP_MS);
  switch (kind) {
    case 'jobs': {
      const { items } = await client.call('listJobs', { query: { prefix, limit: 100 }, signal });
      return items.map(({ name, title }) => ({ word: name, description: title === name ? '' : title }));
    }
    case 'agents': {
      const { items } = await client.call('listAgents', { query: { limit: 500 }, signal });
      return items.map(({ name, state }) => ({ word: name, description: state }));
    }
    case 'runs': {
      const { items } = await client.call('listRuns', { query: { limit: 50 }, signal });
      return items.map(({ id, job, title, state }) => ({
        word: id,
        description: `${job ?? title} ${state}`,
      }));
    }
    case 'tokens': {
      const { items } = await client.call('listTokens', { query: { limit: 500 }, signal });
      return items.map(({ name, role }) => ({ word: name, description: role }));
    }
    default:
      return kind satisfies never;
  }
}

const SCRIPTS: Record<Shell, string> = {
  bash: `# bash completion of rota
_rota() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == ${FILES}$'\\t'* ]]; then
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$2")
      return
    fi
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <(rota complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _rota rota
`,
  zsh: `#compdef rota
_rota() {
  local line
  local -a described
  while IFS= read -r line; do
    if [[ $line == ${FILES}$'\\t'* ]]; then
      _files
      return
    fi
    described+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done < <(rota complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  _describe -V rota described
}
if [[ $funcstack[1] == _rota ]]; then
  _rota "$@"
else
  compdef _rota rota
fi
`,
  fish: `# fish completion of rota
function __rota_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (rota complete -- $words[2..-1] 2>/dev/null)
        if string match -q '${FILES}*' -- $line
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c rota -f -a '(__rota_complete)'
`,
};
