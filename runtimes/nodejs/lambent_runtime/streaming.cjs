// Handlers that stream: what `awslambda` offers them, and the stream they write to.
//
// Nothing is sent before the first piece, so that a handler which fails before it has said anything fails like any other.

'use strict';

const { Writable } = require('node:stream');

const { Fault } = require('./errors.cjs');
const { STREAMS } = require('./handler.cjs');

const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const HTTP = 'application/vnd.awslambda.http-integration-response';
const PRELUDE_END = Buffer.alloc(8);
const NOTHING = Buffer.alloc(0);

/** The writable stream that is the second parameter of a streaming handler. */
class ResponseStream extends Writable {
  #client;
  #invocation;
  #contentType = 'application/octet-stream';
  #prelude = NOTHING;
  #isBegun = false;

  constructor(client, invocation, options) {
    super({ ...options, decodeStrings: true });
    this.#client = client;
    this.#invocation = invocation;
  }

  get hasBegun() {
    return this.#isBegun;
  }

  /** Before the first write. */
  setContentType(contentType) {
    if (this.#isBegun || this.writableLength > 0) {
      throw new Fault('Runtime.InvalidStreamingOperation', 'The content type must be set before the first write.');
    }
    if (/[^\x20-\x7e]/.test(contentType)) {
      throw new Fault('Runtime.InvalidStreamingOperation', 'A content type is one line of plain text.');
    }
    this.#contentType = contentType;
  }

  /** With which status, headers and cookies a function URL shall answer. Before the first write. */
  setPrelude(prelude) {
    this.setContentType(HTTP);
    this.#prelude = Buffer.concat([Buffer.from(JSON.stringify(prelude)), PRELUDE_END]);
  }

  /** Text and bytes go out as they are, anything else as JSON. */
  write(chunk, ...rest) {
    return super.write(asBytes(chunk), ...rest);
  }

  end(chunk, ...rest) {
    return chunk == null || typeof chunk === 'function' ? super.end(chunk, ...rest) : super.end(asBytes(chunk), ...rest);
  }

  _write(chunk, encoding, callback) {
    this.#begin();
    if (chunk.length > 0) this.#client.sendPiece(chunk, callback);
    else callback();
  }

  _final(callback) {
    this.#begin();
    callback();
  }

  #begin() {
    if (this.#isBegun) return;
    this.#isBegun = true;
    this.#client.beginStream(this.#invocation, this.#contentType);
    if (this.#prelude.length > 0) this.#client.sendPiece(this.#prelude);
  }
}

function asBytes(chunk) {
  return typeof chunk === 'string' || chunk instanceof Uint8Array ? chunk : JSON.stringify(chunk);
}

const awslambda = {
  /** Mark a handler as one that streams: it is called with event, response stream and context. */
  streamifyResponse(handler, options) {
    handler[STREAMS] = 'response';
    if (options?.highWaterMark !== undefined) {
      const mark = Number.parseInt(options.highWaterMark, 10);
      if (!(mark > 0)) throw new Fault('Runtime.MalformedStreamingHandler', 'highWaterMark must be a positive number.');
      handler[HIGH_WATER_MARK] = mark;
    }
    return handler;
  },

  HttpResponseStream: {
    from(stream, prelude) {
      stream.setPrelude(prelude);
      return stream;
    },
  },
};

/** The stream for one invocation of `handler`. */
function openStream(handler, client, invocation) {
  const highWaterMark = handler[HIGH_WATER_MARK];
  return new ResponseStream(client, invocation, highWaterMark === undefined ? {} : { highWaterMark });
}

module.exports = { awslambda, openStream };
