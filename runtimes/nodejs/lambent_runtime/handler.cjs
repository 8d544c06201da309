// From the function's handler setting, `path/file.export.nested`, to the function itself.

'use strict';

const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const { Fault } = require('./errors.cjs');

const FILE_AND_EXPORT = /^(?<file>[^.]*)\.(?<name>.*)$/;
const CALLBACK_PARAMETERS = 3; // event, context, callback
const CALLBACKS_END = 24;
const load = createRequire(path.join(path.dirname(__dirname), 'bootstrap.cjs')); // whose name is in messages
const STREAMS = Symbol.for('aws.lambda.runtime.handler.streaming');

/**
 * Load the module and find the handler in it. What the module throws while it is loaded is thrown on, except where AWS
 * has a name for it.
 */
async function loadHandler(root, setting) {
  if (setting.includes('..')) throw new Fault('Runtime.MalformedHandlerName', `'${setting}' must not contain '..'.`);
  const match = FILE_AND_EXPORT.exec(path.basename(setting));
  if (match === null) throw new Fault('Runtime.MalformedHandlerName', 'Bad handler');
  const { file, name } = match.groups;
  const module = await loadModule(path.resolve(root, path.dirname(setting), file), file, root);
  const handler = name.split('.').reduce((found, key) => found?.[key], module);
  if (!handler) throw new Fault('Runtime.HandlerNotFound', `${setting} is undefined or not exported`);
  if (typeof handler !== 'function') throw new Fault('Runtime.HandlerNotFound', `${setting} is not a function`);
  judgeCallback(handler);
  return handler;
}

async function loadModule(place, name, root) {
  try {
    return await find(place, name, root);
  } catch (error) {
    if (error instanceof SyntaxError) throw new Fault('Runtime.UserCodeSyntaxError', String(error), error);
    if (error?.code === 'MODULE_NOT_FOUND') throw new Fault('Runtime.ImportModuleError', String(error), error);
    throw error;
  }
}

/** AWS's order of places; the last is Node's own way of looking for a module of that name. */
async function find(place, name, root) {
  if (fs.existsSync(place)) return load(place);
  if (fs.existsSync(`${place}.js`)) {
    return isModulePackage(path.dirname(place)) ? importFile(`${place}.js`) : load(`${place}.js`);
  }
  if (fs.existsSync(`${place}.mjs`)) return importFile(`${place}.mjs`);
  if (fs.existsSync(`${place}.cjs`)) return load(`${place}.cjs`);
  return load(load.resolve(name, { paths: [root, path.dirname(place)] }));
}

function importFile(file) {
  return import(pathToFileURL(file).href);
}

/** Whether the nearest package.json says that `.js` means an ES module. */
function isModulePackage(directory) {
  const file = path.join(directory, 'package.json');
  if (fs.existsSync(file)) return JSON.parse(fs.readFileSync(file, 'utf8')).type === 'module';
  const parent = path.dirname(directory);
  return parent !== directory && path.basename(directory) !== 'node_modules' && isModulePackage(parent);
}

/** From Node.js 24 on a handler may not have a callback; before, AWS says that it will be so. */
function judgeCallback(handler) {
  if (handler[STREAMS] !== undefined || handler.length < CALLBACK_PARAMETERS) return;
  if (!takesCallbacks()) {
    throw new Fault(
      'Runtime.CallbackHandlerDeprecated',
      'Functions of nodejs24.x and later may not take a callback: make the handler async and return its result.',
    );
  }
  if (!['1', 'true'].includes(process.env.AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING ?? '')) {
    console.warn(
      'The handler takes a callback, which runtimes from nodejs24.x on refuse: make it async and return its result. ' +
        'To silence this warning, set AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING to true.',
    );
  }
}

/** Whether the function's runtime, which need not be this interpreter's version, is older than nodejs24.x. */
function takesCallbacks() {
  const declared = /nodejs(\d+)/.exec(process.env.AWS_EXECUTION_ENV ?? '')?.[1] ?? process.versions.node;
  return Number.parseInt(declared, 10) < CALLBACKS_END;
}

module.exports = { STREAMS, loadHandler, takesCallbacks };
