import type { Handlers } from './call.ts';
import type { Services } from './services.ts';

/** The page at `/`: what to type first. It is the same for everyone and has no script, style or secret. */
export function homeHandlers({ store }: Pick<Services, 'store'>): Pick<Handlers, 'home'> {
  return {
    async home({ request }) {
      const found = await store.readRecovery({}).catch(() => null);
      const isRecovering = found !== null && found.recovery.settledAt === null;
      return page(`${request.protocol}://${plainHost(request.headers.host)}`, isRecovering);
    },
  };
}

/** The host that the browser asked for, when it is one: it comes back into the page. */
function plainHost(host: string | undefined): string {
  return host !== undefined && /^[A-Za-z0-9.:[\]-]{1,255}$/.test(host) ? host : 'localhost:7682';
}

const RECOVERING =
  '<p><strong>The database went on from an older state than it had been in.</strong> What may have been started is held until the\nagents have told what they did: <code>npx rota status</code> says which are awaited.</p>\n';

function page(address: string, isRecovering: boolean): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Rota</title>
</head>
<body>
<h1>Rota is running</h1>
${isRecovering ? RECOVERING : ''}<p>It runs your jobs on time, on every machine you own, and tells you when one did not.</p>
<p>In the terminal where you started it, type:</p>
<ol>
<li><code>npx rota job add hello --every 10s -- echo hi</code> makes a first job.</li>
<li><code>npx rota logs -f hello</code> shows what it writes.</li>
<li><code>npx rota import crontab /etc/crontab</code> reads the jobs that you have; they arrive paused.</li>
</ol>
<p>From another machine: <code>npx rota login ${address}</code>, with the token in the file
<code>admin-token</code> of the data folder. The API is described at <code>/api/v1/openapi.json</code>.</p>
</body>
</html>
`;
}
