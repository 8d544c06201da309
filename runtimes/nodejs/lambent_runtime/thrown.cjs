// Anything can be thrown, even what cannot be looked at without throwing again. Here it is put into words all the same.

'use strict';

const util = require('node:util');

const UNTELLABLE = 'handled'; // AWS's word

function isError(value) {
  return util.types.isNativeError(value) || value instanceof Error;
}

/** What was thrown, if it is an error that can be told; an error that says it, if it is anything else. */
function intoError(thrown) {
  const { errorType, errorMessage } = documentOf(thrown);
  return isError(thrown) && errorType !== UNTELLABLE ? thrown : new Error(errorMessage);
}

/** What the caller is told. */
function documentOf(thrown) {
  try {
    if (!isError(thrown)) return { errorType: typeof thrown, errorMessage: String(thrown), trace: [] };
    return { errorType: String(thrown.name), errorMessage: String(thrown.message), trace: stackLines(thrown) };
  } catch {
    return { errorType: UNTELLABLE, errorMessage: 'What was thrown cannot be told in words.', trace: [] };
  }
}

/** Without this client's own frames. */
function stackLines({ stack }) {
  return typeof stack === 'string' ? stack.split('\n').filter((line) => !line.includes(__dirname)) : [];
}

module.exports = { documentOf, intoError, isError, stackLines };
