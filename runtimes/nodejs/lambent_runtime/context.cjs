// The context object of every handler (https://docs.aws.amazon.com/lambda/latest/dg/nodejs-context.html).

'use strict';

/** The fields that stay the same for the life of the environment. */
function environmentFacts() {
  const { env } = process;
  return {
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
  };
}

/** Add to `context` what is to be said of the environment and of one invocation. Times are milliseconds. */
function fillContext(context, facts, headers) {
  const deadlineMs = Number(headers['lambda-runtime-deadline-ms']);
  return Object.assign(context, facts, {
    clientContext: parse(headers['lambda-runtime-client-context'], 'client context'),
    identity: parse(headers['lambda-runtime-cognito-identity'], 'Cognito identity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    getRemainingTimeInMillis: () => deadlineMs - Date.now(),
  });
}

function parse(text, name) {
  if (!text) return undefined;
  try {
    return JSON.parse(Buffer.from(text, 'latin1').toString());
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

module.exports = { environmentFacts, fillContext };
