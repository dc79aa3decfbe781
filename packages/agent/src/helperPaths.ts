/** Where session and helper meet in the state folder. Each helper has a socket of its own name. */
export function helperPaths(folder: string, helperId: string) {
  return {
    spool: `${folder}/spool`,
    /** Says which helper is the one to talk to. Written before that one is started. */
    current: `${folder}/helper.json`,
    socket: `${folder}/helper-${helperId}.sock`,
    /** The helper's pid and start time: whether it is alive when its socket does not answer. */
    process: `${folder}/helper-${helperId}.json`,
    pipes: `${folder}/helper-${helperId}.pipes`,
    log: `${folder}/helper.log`,
  };
}
