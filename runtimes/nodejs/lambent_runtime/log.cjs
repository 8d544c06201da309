// What a function writes by `console`: one log event per call, in AWS's two formats.
//
// Output goes to a pipe that the platform splits into log events at every newline. `process.stdout` is left as it is.

'use strict';

const fs = require('node:fs');
const util = require('node:util');

const { documentOf, isError, stackLines } = require('./thrown.cjs');

const LEVELS = { trace: 'TRACE', debug: 'DEBUG', log: 'INFO', info: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL' };
const RANKS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
const STDOUT = 1;
const RETRY_MS = 1;

/** The invocation that is spoken of; undefined during Init. */
const current = { requestId: undefined, tenantId: undefined };

/** Make `console` speak the format that the environment variables ask for, and be silent below their level. */
function patchConsole() {
  const format = isJson() ? formatJson : formatText;
  const lowest = isJson() ? RANKS.indexOf((process.env.AWS_LAMBDA_LOG_LEVEL ?? '').toUpperCase()) : 0;
  for (const [method, level] of Object.entries(LEVELS)) {
    const isHeard = RANKS.indexOf(level) >= lowest;
    console[method] = isHeard ? (...values) => writeEvent(format(level, values)) : () => {};
  }
}

/** What the runtime itself has to say of an error; in text, as JSON behind a heading. */
function logError(heading, error) {
  if (isJson()) writeEvent(formatJson('ERROR', [error]));
  else writeEvent(formatText('ERROR', [heading, `\t${stringifyError(error)}`]));
}

function isJson() {
  return process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON';
}

function formatText(level, values) {
  return `${new Date().toISOString()}\t${current.requestId}\t${level}\t${util.format(...values)}`;
}

function formatJson(level, values) {
  const record = { timestamp: new Date().toISOString(), level, requestId: current.requestId };
  if (current.tenantId !== undefined) record.tenantId = current.tenantId;
  if (values.length === 1) {
    try {
      return JSON.stringify({ ...record, message: values[0] }, (_, value) => (isError(value) ? describe(value) : value));
    } catch {
      // it has cycles, or a BigInt
    }
  }
  const error = values.length > 1 ? values.find(isError) : undefined;
  return JSON.stringify({ ...record, message: util.format(...values), ...(error && describe(error)) });
}

function describe(error) {
  return {
    errorType: error.constructor?.name ?? 'UnknownError',
    errorMessage: error.message,
    stackTrace: stackLines(error),
    ...error,
  };
}

function stringifyError(error) {
  try {
    return JSON.stringify(error, (_, value) => (isError(value) ? describeInText(value) : value));
  } catch {
    const { errorType, errorMessage, trace } = documentOf(error);
    return JSON.stringify({ errorType, errorMessage, stack: trace });
  }
}

function describeInText(error) {
  return { errorType: error.name, errorMessage: error.message, code: error.code, ...error, stack: stackLines(error) };
}

/** Newlines inside become carriage returns, as in AWS's own logs, so that it stays one event. */
function writeEvent(text) {
  let left = Buffer.from(`${text.replaceAll('\n', '\r')}\n`);
  while (left.length > 0) left = left.subarray(writeSome(left));
}

function writeSome(data) {
  try {
    return fs.writeSync(STDOUT, data);
  } catch (error) {
    if (error.code !== 'EAGAIN') return data.length; // nobody reads any more
    // A child of the function has made the pipe non-blocking, and the pipe is full.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    return 0;
  }
}

module.exports = { current, logError, patchConsole };
