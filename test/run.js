// Plain JavaScript, so that an old Node gets a sentence instead of a syntax error.
const major = Number(process.versions.node.split('.')[0]);
if (major < 24) {
  console.error(
    `Rota needs Node 24 or newer; this is ${process.version}. \`npm ci\` brings one along on x64 Linux; elsewhere install it.`,
  );
  process.exit(1);
}
await import('./runner.ts');
