// HTTP/1.1 over one keep-alive connection: as much of it as a client of the Runtime API needs.

'use strict';

const net = require('node:net');

const READ_BYTES = 64 * 1024;
const HEAD_END = '\r\n\r\n';
const NOTHING = Buffer.alloc(0);

/**
 * Answers come back in the order of the requests, so any number of them may be sent ahead.
 *
 * It keeps the process alive only while it is told to: when the event loop is empty is the function's to decide.
 */
class Connection {
  #socket;
  #onAnswer;
  #kept = NOTHING; // of a head that is not whole yet
  #head = null; // of an answer whose body is not whole yet
  #body = NOTHING;
  #filled = 0;

  /**
   * `onAnswer(status, headers, body)` is called for each answer: names of headers in lower case, and a body that is
   * only there during the call. `onLost` is called when the platform has closed the connection.
   */
  constructor(host, port, onAnswer, onLost) {
    this.#onAnswer = onAnswer;
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const onread = { buffer, callback: (size) => this.#read(buffer.subarray(0, size)) };
    this.#socket = net.connect({ host, port, noDelay: true, onread });
    this.#socket.on('error', onLost).on('end', onLost).unref();
  }

  whenConnected(then) {
    this.#socket.ref().once('connect', () => {
      this.#socket.unref();
      then();
    });
  }

  /** `onSent` is called once the kernel has taken everything. */
  send(data, onSent) {
    this.#socket.write(data, onSent);
  }

  /** All pieces in one system call, where the kernel takes them whole. */
  sendAll(pieces, onSent) {
    this.#socket.cork();
    pieces.forEach((piece, index) => this.#socket.write(piece, index === pieces.length - 1 ? onSent : undefined));
    this.#socket.uncork();
  }

  keepProcessAlive(isWanted) {
    if (isWanted) this.#socket.ref();
    else this.#socket.unref();
  }

  #read(data) {
    let rest = data;
    while (rest.length > 0) rest = this.#head === null ? this.#readHead(rest) : this.#readBody(rest);
    return true;
  }

  #readHead(data) {
    const all = this.#kept.length > 0 ? Buffer.concat([this.#kept, data]) : data;
    const end = all.indexOf(HEAD_END);
    if (end < 0) {
      this.#kept = Buffer.from(all); // a copy, for what was read lies in a buffer that will be read into again
      return NOTHING;
    }
    this.#kept = NOTHING;
    const head = parseHead(all.latin1Slice(0, end));
    const bodyAt = end + HEAD_END.length;
    const bodyEnd = bodyAt + head.length;
    if (bodyEnd <= all.length) {
      this.#onAnswer(head.status, head.headers, all.subarray(bodyAt, bodyEnd));
      return all.subarray(bodyEnd);
    }
    this.#head = head;
    this.#body = Buffer.allocUnsafeSlow(head.length);
    this.#filled = all.copy(this.#body, 0, bodyAt);
    return NOTHING;
  }

  #readBody(data) {
    const taken = data.copy(this.#body, this.#filled);
    this.#filled += taken;
    if (this.#filled === this.#body.length) {
      const { status, headers } = this.#head;
      const body = this.#body;
      this.#head = null;
      this.#body = NOTHING;
      this.#onAnswer(status, headers, body);
    }
    return data.subarray(taken);
  }
}

function parseHead(text) {
  const [statusLine, ...lines] = text.split('\r\n');
  const headers = Object.create(null);
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(statusLine.slice(9, 12)), headers, length: Number(headers['content-length'] ?? 0) };
}

module.exports = { Connection };
