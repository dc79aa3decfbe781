import { execFile } from 'node:child_process';
import { userInfo } from 'node:os';

/** A user of the machine that a command runs as. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
  /** The agent itself runs as this user: nothing has to change. */
  isSelf: boolean;
}

/** The account of `user`, or of the agent when null. @throws when there is none or the agent may not become it */
export async function accountOf(user: string | null): Promise<Account> {
  const self = userInfo();
  const own: Account = {
    name: self.username,
    uid: self.uid,
    gid: self.gid,
    home: self.homedir,
    isSelf: true,
  };
  if (user === null || user === self.username) return own;
  const line = await readPasswd(user);
  if (line === null) throw new Error(`there is no user ${user} on this machine`);
  const account = parsePasswd(line);
  if (account.uid === self.uid) return { ...account, isSelf: true };
  if (self.uid !== 0)
    throw new Error(
      `the agent runs as ${self.username}; only one that runs as root may run a job as ${user}`,
    );
  return account;
}

/** Parses a line of passwd(5). */
export function parsePasswd(line: string): Account {
  const [name, , uid, gid, , home] = line.trim().split(':');
  return { name: name as string, uid: Number(uid), gid: Number(gid), home: home || '/', isSelf: false };
}

/** Through the name service, so that users of a directory are found too. */
function readPasswd(user: string): Promise<string | null> {
  return new Promise((resolve) => {
    execFile('getent', ['passwd', user], { timeout: 10_000 }, (error, stdout) =>
      resolve(error || stdout.trim() === '' ? null : stdout),
    );
  });
}
