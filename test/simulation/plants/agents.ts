import { AGENT, type Plant, struck } from './plant.ts';

/** Bugs in what an agent keeps, starts and tells. */
export const AGENTS: Plant[] = [
  {
    name: 'a start is on the disk after the execution',
    edits: [
      {
        file: `${AGENT}/startedAttempts.ts`,
        find: "    await commit({\n      type: 'started',",
        replace:
          "    executor.send({ type: 'start', task: taskOf(permit, ports.environment) });\n    await commit({\n      type: 'started',",
      },
    ],
    invariant: 'notStartedNeverStarts',
    world: struck(['rebootMachine', 'killBoth'], ['before exec', 'after exec', 'receive permit']),
    seed: 3,
  },
  {
    name: 'the journal does not wait for the disk',
    edits: [
      {
        file: `${AGENT}/journal.ts`,
        find: '      await this.#file.sync();\n    } catch (error) {\n      // After a failed sync',
        replace: '    } catch (error) {\n      // After a failed sync',
      },
    ],
    invariant: 'innocentsNotLockedOut',
    world: struck(['rebootMachine'], ['after exec', 'send accept', 'send started', 'send ended'], 60),
    seed: 3,
  },
  {
    name: 'a permit is good for ever',
    edits: [
      {
        file: `${AGENT}/attempts.ts`,
        find: "  if (now.bootMs > permit.validUntilBootMs) return { start: false, refuse: 'permitExpired' };\n",
        replace: '',
      },
      {
        file: `${AGENT}/permit.ts`,
        find: '    validUntilBootMs: permit.validUntilBootMs,\n',
        replace: '    validUntilBootMs: Number.MAX_SAFE_INTEGER,\n',
      },
    ],
    invariant: 'noOverlap',
    world: {
      ...struck(['freezeSession', 'freezeMachine'], ['receive permit'], 150),
      minReplicas: 1,
    },
    seed: 7,
  },
  {
    name: 'ends are forgotten when the connection is lost',
    edits: [
      {
        file: `${AGENT}/reports.ts`,
        find: '        report.isResumed = true;\n',
        replace:
          '        if (report.end) {\n          reports.delete(report.attemptId);\n          continue;\n        }\n        report.isResumed = true;\n',
      },
    ],
    invariant: 'settled',
    world: {
      ...struck(['cut', 'block', 'killReplica'], ['send ended', 'receive ended', 'after exec'], 100),
      minReplicas: 1,
    },
    seed: 5,
  },
  {
    name: 'a boot of the machine is not noticed',
    edits: [
      {
        file: `${AGENT}/startedAttempts.ts`,
        find: '    if (entry.bootId !== bootId) {\n      await spool.writeEnd',
        replace: '    if (entry.bootId === null) {\n      await spool.writeEnd',
      },
    ],
    invariant: 'notStartedNeverStarts',
    world: struck(['rebootMachine'], ['after exec', 'send started'], 150),
    seed: 5,
  },
  {
    name: 'a helper that died had begun nothing',
    edits: [
      {
        file: `${AGENT}/startedAttempts.ts`,
        find: 'if (entry.helperId === helper?.id)',
        replace: 'if (helper)',
      },
    ],
    invariant: 'notStartedNeverStarts',
    world: struck(['killHelper', 'killBoth'], ['after exec'], 150),
    seed: 1,
  },
  {
    name: 'a refusal is forgotten with the process that made it',
    edits: [
      {
        file: `${AGENT}/journal.ts`,
        find: '      applyRecord(content.entries, record);\n',
        replace:
          "      if (record.type === 'refused') content.entries.delete(record.attemptId);\n      else applyRecord(content.entries, record);\n",
      },
    ],
    // A permit that comes for what was refused finds no entry and is refused again: what shows is that nobody knows any more.
    invariant: 'damageHasCause',
    world: struck(
      ['rebootMachine', 'killSession'],
      ['receive accept', 'send permit', 'receive permit', 'before acceptOffer', 'send refused'],
      300,
    ),
    seed: 2,
  },
];
