/** What people type who know other tools, and what it is called here; what follows is kept. */
export const NEAR_MISSES: Record<string, string> = {
  jobs: 'job list',
  list: 'job list',
  ls: 'job list',
  add: 'job add',
  create: 'job add',
  new: 'job add',
  edit: 'job edit',
  delete: 'job delete',
  rm: 'job delete',
  remove: 'job delete',
  pause: 'job pause',
  resume: 'job resume',
  trigger: 'job run',
  'job ls': 'job list',
  'job create': 'job add',
  'job new': 'job add',
  'job get': 'job show',
  'job describe': 'job show',
  'job rm': 'job delete',
  'job remove': 'job delete',
  'job del': 'job delete',
  'job start': 'job run',
  'job trigger': 'job run',
  'job exec': 'job run',
  'job stop': 'job pause',
  'job disable': 'job pause',
  'job suspend': 'job pause',
  'job enable': 'job resume',
  'job unpause': 'job resume',
  'job update': 'job edit',
  'job set': 'job edit',
  'job logs': 'logs',
  'job log': 'logs',
  'job next': 'job show',
  'job apply': 'apply',
  'job import': 'import crontab',
  runs: 'run list',
  ps: 'run list --active',
  history: 'run list',
  cancel: 'run cancel',
  kill: 'run cancel',
  stop: 'run cancel',
  resolve: 'run resolve',
  'run ls': 'run list',
  'run ps': 'run list --active',
  'run get': 'run show',
  'run describe': 'run show',
  'run stop': 'run cancel',
  'run kill': 'run cancel',
  'run logs': 'logs',
  'run log': 'logs',
  'run job': 'job run',
  agents: 'agent list',
  nodes: 'agent list',
  workers: 'agent list',
  join: 'agent start',
  'agent ls': 'agent list',
  'agent get': 'agent show',
  'agent describe': 'agent show',
  'agent rm': 'agent remove',
  'agent delete': 'agent remove',
  'agent add': 'agent join-token',
  'agent create': 'agent join-token',
  'agent token': 'agent join-token',
  'agent join': 'agent start',
  'agent run': 'agent start',
  'agent edit': 'agent set',
  'agent update': 'agent set',
  'agent label': 'agent set',
  tokens: 'token list',
  'token ls': 'token list',
  'token add': 'token create',
  'token new': 'token create',
  'token rm': 'token revoke',
  'token delete': 'token revoke',
  'token remove': 'token revoke',
  start: 'up',
  serve: 'server start',
  daemon: 'server start',
  backup: 'server backup',
  restore: 'server restore',
  'server up': 'server start',
  'server run': 'server start',
  log: 'logs',
  tail: 'logs -f',
  output: 'logs',
  ssh: 'exec --wait --agent',
  crontab: 'import crontab',
  cron: 'next',
  schedule: 'next',
  dump: 'export',
  plan: 'diff',
  info: 'status',
  health: 'doctor',
  check: 'doctor',
  whoami: 'status',
  auth: 'login',
  completions: 'completion',
  'import cron': 'import crontab',
};

/** Things by their plural, such as in `jobs list`. */
const PLURALS: Record<string, string> = {
  jobs: 'job',
  runs: 'run',
  agents: 'agent',
  tokens: 'token',
  servers: 'server',
};

/**
 * What a person probably meant by words that are no command, ready to type, or null when nothing comes to mind.
 * @param words all that was typed behind `rota`
 * @param nearest the command that is spelt most like the wrong word, if one is near
 */
export function hintFor(words: readonly string[], nearest: string | null): string | null {
  const [first = '', second = '', ...rest] = words;
  const singular = PLURALS[first];
  if (singular !== undefined && second !== '' && !second.startsWith('-')) {
    return rota(NEAR_MISSES[`${singular} ${second}`] ?? `${singular} ${second}`, rest);
  }
  const both = NEAR_MISSES[`${first} ${second}`];
  if (both !== undefined) return rota(both, rest);
  const one = NEAR_MISSES[first];
  if (one !== undefined) return rota(one, words.slice(1));
  if (nearest !== null)
    return GROUPS.has(first) ? rota(`${first} ${nearest}`, rest) : rota(nearest, words.slice(1));
  if (first === 'run' && second !== '') return rota('job run', words.slice(1));
  if (first === 'import' && second !== '') return rota('import crontab', words.slice(1));
  return null;
}

/** Commands whose next word is a command too. */
const GROUPS = new Set(['job', 'run', 'agent', 'token', 'server', 'import']);

function rota(command: string, words: readonly string[]): string {
  return ['rota', command, ...words].join(' ');
}
