// Telling of a failure: AWS's names for what goes wrong, the document for the caller, the cause for X-Ray.

'use strict';

const { documentOf, stackLines } = require('./thrown.cjs');

const XRAY_CAUSE_BYTES = 64 * 1024;
const FRAME = /^\s*at (?:(?<label>.+?) \()?(?:file:\/\/)?(?<path>.+?):(?<line>\d+)(?::\d+)?\)?$/;

/** A failure that AWS has a name for, such as `Runtime.HandlerNotFound`; its trace is that of what it was `cause`d by. */
class Fault extends Error {
  constructor(name, message, cause) {
    super(message);
    Object.defineProperty(this, 'name', { value: name });
    const trace = stackLines({ stack: cause?.stack?.replace?.(String(cause), '') });
    this.stack = [`${name}: ${message}`, ...trace.filter((line) => line !== '')].join('\n');
  }
}

/** What nobody has caught of a promise. */
class UnhandledRejection extends Fault {
  constructor(reason, promise) {
    super('Runtime.UnhandledPromiseRejection', String(reason), reason);
    this.reason = reason;
    this.promise = promise;
  }
}

/** Everything the Runtime API is told of a thrown value: `body` is JSON, `headers` and `trailers` are whole lines. */
class ErrorReport {
  constructor(thrown) {
    const { errorType, errorMessage, trace } = documentOf(thrown);
    this.body = JSON.stringify({ errorType, errorMessage, trace });
    this.type = printable(errorType);
    this.headers =
      `Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: ${this.type}\r\n` +
      xrayHeader(errorType, errorMessage, trace);
  }

  get trailers() {
    const body = Buffer.from(this.body).toString('base64');
    return `Lambda-Runtime-Function-Error-Type: ${this.type}\r\nLambda-Runtime-Function-Error-Body: ${body}\r\n`;
  }
}

function xrayHeader(type, message, trace) {
  const stack = trace.map((line) => FRAME.exec(line)?.groups).filter(Boolean);
  const cause = {
    working_directory: process.cwd(),
    exceptions: [{ type, message, stack: stack.map((one) => ({ path: one.path, line: Number(one.line), label: one.label ?? 'anonymous' })) }],
    paths: [...new Set(stack.map((one) => one.path))],
  };
  const text = ascii(JSON.stringify(cause));
  return text.length <= XRAY_CAUSE_BYTES ? `Lambda-Runtime-Function-XRay-Error-Cause: ${text}\r\n` : '';
}

/** JSON that a header can carry. */
function ascii(json) {
  return json.replace(/[\u007f-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function printable(text) {
  return text.replace(/[^\x20-\x7e]/g, '?');
}

module.exports = { ErrorReport, Fault, UnhandledRejection };
