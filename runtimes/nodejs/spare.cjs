// What waits in a sandbox before it is anybody's: this client, loaded and connected, and no code of any function.
//
// It is told through a pipe which function's process it is: its environment variables and its working directory. From
// then on it stands where `node /var/runtime/bootstrap.cjs` would stand.

'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { RuntimeClient } = require('./lambent_runtime/client.cjs');
const { environmentFacts, fillContext } = require('./lambent_runtime/context.cjs');
const { loadHandler } = require('./lambent_runtime/handler.cjs');
const { BufferedInvocation } = require('./lambent_runtime/invocation.cjs');
const loop = require('./lambent_runtime/loop.cjs');

const TOLD = 3;

function become([, , environment, directory]) {
  for (const name of Object.keys(process.env)) if (!(name in environment)) delete process.env[name];
  for (const [name, value] of Object.entries(environment)) if (process.env[name] !== value) process.env[name] = value;
  process.chdir(directory);
  process.argv[1] = path.join(__dirname, 'bootstrap.cjs');
}

/** Go once through what every function goes through: Node.js makes most things ready when they are first used. */
async function warmUp() {
  await loadHandler(__dirname, 'warm_up.handler');
  const answered = new Promise((resolve) => {
    const nobody = { respond: resolve };
    const headers = { 'lambda-runtime-aws-request-id': '', 'lambda-runtime-deadline-ms': '0' };
    const fill = (context) => fillContext(context, environmentFacts(), headers);
    new BufferedInvocation(nobody, headers).run(async () => ({}), {}, fill);
  });
  await answered;
}

const client = new RuntimeClient(process.env.AWS_LAMBDA_RUNTIME_API);
client.whenConnected(async () => {
  await warmUp();
  const told = fs.readFileSync(TOLD, 'utf8'); // nothing else happens in this process until it comes
  if (told === '') process.exit(0); // nobody is left who could tell
  fs.closeSync(TOLD);
  become(JSON.parse(told));
  loop.main(client);
});
