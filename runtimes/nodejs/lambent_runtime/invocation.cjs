// One invocation: the handler is called, and the first of its many ways to answer is the answer.

'use strict';

const { finished } = require('node:stream/promises');

const { ErrorReport, Fault } = require('./errors.cjs');
const { takesCallbacks } = require('./handler.cjs');
const { logError } = require('./log.cjs');
const { openStream } = require('./streaming.cjs');
const { intoError } = require('./thrown.cjs');

const AsyncFunction = (async () => {}).constructor;

/** What they have in common: told of failures, of crashes, and of an event loop that is empty. */
class Invocation {
  isAnswered = false;

  constructor(client, headers) {
    this.client = client;
    this.headers = headers;
    this.requestId = headers['lambda-runtime-aws-request-id'];
  }

  fail(thrown) {
    if (this.isAnswered) return;
    this.isAnswered = true;
    logError('Invoke Error', intoError(thrown));
    this.client.fail(this, new ErrorReport(thrown));
  }

  /** The process cannot go on. */
  crash(error, onTold) {
    this.isAnswered = true;
    this.client.failForGood(this, new ErrorReport(error), onTold);
  }

  neverSettled() {
    return new Fault('Runtime.NodeJsExit', 'Nothing was left to run while the promise of the handler was still pending.');
  }
}

/** Of a handler that returns its result, or a promise of it, or gives it to a callback. */
class BufferedInvocation extends Invocation {
  #mustWait = true;
  #whenEmpty = () => this.#respond(null);

  /** `fill(context)` adds what the context says of environment and invocation. */
  run(handler, event, fill) {
    const isAsync = handler instanceof AsyncFunction;
    if (isAsync) this.#whenEmpty = () => this.fail(this.neverSettled());
    try {
      const result = handler(event, fill(this.#makeContext()), this.#callback);
      if (typeof result?.then === 'function') result.then(this.#done, this.#fail);
      else if (!takesCallbacks()) this.#respond(result);
    } catch (error) {
      this.fail(error);
    }
  }

  eventLoopIsEmpty() {
    if (!this.isAnswered) this.#whenEmpty();
  }

  #makeContext() {
    const invocation = this;
    const context = {
      get callbackWaitsForEmptyEventLoop() {
        return invocation.#mustWait;
      },
      set callbackWaitsForEmptyEventLoop(value) {
        invocation.#mustWait = value;
      },
    };
    if (takesCallbacks()) {
      context.done = (error, result) => (error == null ? this.#done(result) : this.fail(error));
      context.succeed = this.#done;
      context.fail = (error) => this.fail(error ?? 'handled');
    }
    return context;
  }

  #callback = (error, result) => {
    if (error != null) this.fail(error);
    else if (this.#mustWait) this.#whenEmpty = () => this.#respond(result);
    else this.#done(result);
  };

  #done = (result) => this.#respond(result);

  #fail = (error) => this.fail(error);

  #respond(result) {
    if (this.isAnswered) return;
    let body;
    try {
      body = JSON.stringify(result === undefined ? null : result) ?? 'null';
    } catch {
      this.fail(new Error('Unable to stringify response body'));
      return;
    }
    this.isAnswered = true;
    this.client.respond(this, body);
  }
}

/** Of a handler that writes to a response stream. */
class StreamedInvocation extends Invocation {
  #stream;
  #hasReturned = false;

  async run(handler, event, fill) {
    this.#stream = openStream(handler, this.client, this);
    const sent = finished(this.#stream);
    sent.catch(() => {}); // told of below, if it is still of interest by then
    try {
      const context = fill({ callbackWaitsForEmptyEventLoop: true });
      const result = handler(event, this.#stream, context);
      if (typeof result?.then !== 'function') throw new Error('Streaming does not support non-async handlers.');
      if ((await result) !== undefined) console.warn('Streaming handlers ignore return values.');
      this.#hasReturned = true;
      await sent;
      this.#end();
    } catch (error) {
      this.fail(error);
    }
  }

  /** A stream that nobody will ever end is at its end when its handler has returned. */
  eventLoopIsEmpty() {
    if (this.isAnswered) return;
    if (this.#hasReturned) this.#stream.end();
    else this.fail(this.neverSettled());
  }

  fail(thrown) {
    if (this.isAnswered) return;
    if (!this.#stream.hasBegun) {
      super.fail(thrown);
      return;
    }
    this.isAnswered = true;
    logError('Invoke Error', intoError(thrown));
    this.client.endStream(new ErrorReport(thrown).trailers);
  }

  crash(error, onTold) {
    this.isAnswered = true;
    if (this.#stream.hasBegun) this.client.endStreamForGood(new ErrorReport(error).trailers, onTold);
    else super.crash(error, onTold);
  }

  #end() {
    if (this.isAnswered) return;
    this.isAnswered = true;
    this.client.endStream();
  }
}

module.exports = { BufferedInvocation, StreamedInvocation };
