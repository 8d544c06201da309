// The Runtime API: ask for an invocation, answer it.
//
// The answer to one invocation and the question for the next are sent together. Nothing can happen between them, so a
// warm invoke costs one write.

'use strict';

const { Connection } = require('./connection.cjs');

const ROOT = '/2018-06-01/runtime';
const RESPONSE_LIMIT_BYTES = 6 * 1024 * 1024 + 100;
const ACCEPTED = 202;
const TOO_LARGE = 413; // the platform has told the caller, and life goes on
const STREAMED =
  'Lambda-Runtime-Function-Response-Mode: streaming\r\n' +
  'Transfer-Encoding: chunked\r\n' +
  'Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n';
const CHUNK_END = '\r\n';

class RuntimeClient {
  #host;
  #next;
  #connection;
  #waiting = []; // who is called with the answers that are due, in order

  /** `address`: `host:port`, as in AWS_LAMBDA_RUNTIME_API. */
  constructor(address) {
    const colon = address.lastIndexOf(':');
    this.#host = `Host: ${address}\r\n`;
    this.#next = `GET ${ROOT}/invocation/next HTTP/1.1\r\n${this.#host}\r\n`;
    const onAnswer = (status, headers, body) => this.#waiting.shift()(status, headers, body);
    this.#connection = new Connection(address.slice(0, colon), Number(address.slice(colon + 1)), onAnswer, leave);
  }

  /** Called with the headers and the body of every invocation; the body is only there during the call. */
  onInvocation = null;

  whenConnected(then) {
    this.#connection.whenConnected(then);
  }

  /** Ask for the first invocation; later ones are asked for together with the answer before. */
  askNext() {
    this.#connection.send(this.#next);
    this.#expectInvocation();
  }

  /** Answer with a JSON text and ask for the next invocation. */
  respond(invocation, body) {
    this.#answer(invocation, 'response', limited(body), 'Content-Type: application/json\r\n');
  }

  /** Answer with an error and ask for the next invocation. */
  fail(invocation, report) {
    this.#answer(invocation, 'error', report.body, report.headers);
  }

  /** Answer with an error, and call `onTold` when the platform knows. */
  failForGood(invocation, report, onTold) {
    const path = invocation === null ? 'init/error' : `invocation/${invocation.requestId}/error`;
    this.#connection.keepProcessAlive(true);
    this.#connection.send(this.#post(path, report.body, report.headers + attempt(invocation)));
    this.#waiting.push(onTold);
  }

  /** Begin to answer in pieces. */
  beginStream(invocation, contentType) {
    const path = `${ROOT}/invocation/${invocation.requestId}/response`;
    const lines = `Content-Type: ${contentType}\r\n${STREAMED}${attempt(invocation)}`;
    this.#connection.send(`POST ${path} HTTP/1.1\r\n${this.#host}${lines}\r\n`);
  }

  /** A buffer that is not empty. `onSent` is called when more may be sent. */
  sendPiece(data, onSent) {
    this.#connection.sendAll([`${data.length.toString(16)}\r\n`, data, CHUNK_END], onSent);
  }

  /** End the answer and ask for the next invocation; `trailers` are whole lines. */
  endStream(trailers = '') {
    this.#connection.send(`0\r\n${trailers}\r\n${this.#next}`);
    this.#waiting.push(checkAccepted);
    this.#expectInvocation();
  }

  /** End the answer with an error, and call `onTold` when the platform knows. */
  endStreamForGood(trailers, onTold) {
    this.#connection.keepProcessAlive(true);
    this.#connection.send(`0\r\n${trailers}\r\n`);
    this.#waiting.push(onTold);
  }

  #answer(invocation, outcome, body, headers) {
    const post = this.#post(`invocation/${invocation.requestId}/${outcome}`, body, headers + attempt(invocation));
    this.#connection.send(post + this.#next);
    this.#waiting.push(checkAccepted);
    this.#expectInvocation();
  }

  #post(path, body, headers) {
    const length = `Content-Length: ${Buffer.byteLength(body)}\r\n`;
    return `POST ${ROOT}/${path} HTTP/1.1\r\n${this.#host}${headers}${length}\r\n${body}`;
  }

  #expectInvocation() {
    this.#connection.keepProcessAlive(true);
    this.#waiting.push((status, headers, body) => {
      if (status !== 200) refuse('an invocation (200) from next', status, body);
      this.#connection.keepProcessAlive(false);
      this.onInvocation(headers, body);
    });
  }
}

function checkAccepted(status, headers, body) {
  if (status !== ACCEPTED && status !== TOO_LARGE) refuse('the answer to be accepted (202)', status, body);
}

function refuse(expected, status, body) {
  process.stderr.write(`The runtime cannot go on: expected ${expected}, found ${status}: ${body}\n`);
  leave();
}

/** The platform has closed the connection: this environment is over, whatever the function is doing. */
function leave() {
  process.reallyExit(1);
}

/** One byte too many is refused like a gigabyte too many, and sooner. */
function limited(body) {
  const isTooLong = body.length > RESPONSE_LIMIT_BYTES;
  return isTooLong ? body.slice(0, RESPONSE_LIMIT_BYTES + 1) : body;
}

function attempt(invocation) {
  const id = invocation?.headers['lambda-runtime-invocation-id'];
  return id ? `Lambda-Runtime-Invocation-Id: ${id}\r\n` : '';
}

module.exports = { RuntimeClient };
