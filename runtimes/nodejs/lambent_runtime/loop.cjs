// The life of a runtime: load the handler, then serve one invocation after the other until the platform goes.

'use strict';

const { RuntimeClient } = require('./client.cjs');
const { environmentFacts, fillContext } = require('./context.cjs');
const { ErrorReport, UnhandledRejection } = require('./errors.cjs');
const { STREAMS, loadHandler } = require('./handler.cjs');
const { BufferedInvocation, StreamedInvocation } = require('./invocation.cjs');
const log = require('./log.cjs');
const { awslambda } = require('./streaming.cjs');
const { intoError } = require('./thrown.cjs');

const REJECTION_EXIT = 128;
const EXCEPTION_EXIT = 129;
const UNSETTLED_EXIT = 13; // Node's own, for a module that waits for ever

let isServing = false; // Init is over
let current = null; // the invocation under way, or the one before

/** Be the runtime of this process, as its environment variables say. `client`: one that is connected already. */
async function main(client = new RuntimeClient(process.env.AWS_LAMBDA_RUNTIME_API)) {
  log.patchConsole();
  takeCrashes(client);
  if (!['1', 'true'].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA ?? '')) {
    globalThis.awslambda = awslambda;
  }
  process.exitCode = UNSETTLED_EXIT;
  try {
    const handler = await loadHandler(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER ?? '');
    process.exitCode = undefined;
    serve(handler, client);
  } catch (error) {
    crash(client, 'Uncaught Exception', error, EXCEPTION_EXIT);
  }
}

function serve(handler, client) {
  const facts = environmentFacts();
  const Kind = handler[STREAMS] === undefined ? BufferedInvocation : StreamedInvocation;
  process.on('beforeExit', () => current?.eventLoopIsEmpty());
  client.onInvocation = (headers, body) => {
    const invocation = (current = new Kind(client, headers));
    log.current.requestId = invocation.requestId;
    log.current.tenantId = headers['lambda-runtime-aws-tenant-id'];
    setTraceId(headers['lambda-runtime-trace-id']);
    let event;
    try {
      event = JSON.parse(body.utf8Slice(0, body.length));
    } catch (error) {
      invocation.fail(error);
      return;
    }
    invocation.run(handler, event, (context) => fillContext(context, facts, headers));
  };
  isServing = true;
  client.askNext();
}

/** What nobody has caught is the answer to the invocation, or to the Init, in which it came; then the process ends. */
function takeCrashes(client) {
  process.on('uncaughtException', (error) => crash(client, 'Uncaught Exception', error, EXCEPTION_EXIT));
  process.on('unhandledRejection', (reason, promise) => {
    const error = new UnhandledRejection(reason, promise);
    crash(client, 'Unhandled Promise Rejection', error, REJECTION_EXIT);
  });
}

function crash(client, heading, error, exitCode) {
  log.logError(heading, intoError(error));
  const exit = () => process.exit(exitCode);
  if (!isServing) client.failForGood(null, new ErrorReport(error), exit);
  else if (current === null || current.isAnswered) exit();
  else current.crash(error, exit);
}

function setTraceId(traceId) {
  if (traceId) process.env._X_AMZN_TRACE_ID = traceId;
  else delete process.env._X_AMZN_TRACE_ID;
}

module.exports = { main };
