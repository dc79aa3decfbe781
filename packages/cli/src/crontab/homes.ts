/** The home folder of each user by the text of a passwd(5) file; lines that are none are passed over. */
export function homesOf(passwd: string): ReadonlyMap<string, string> {
  const homes = new Map<string, string>();
  for (const line of passwd.split('\n')) {
    const [user = '', , , , , home = ''] = line.split(':');
    if (user !== '' && home !== '' && !homes.has(user)) homes.set(user, home);
  }
  return homes;
}
