// What an environment of a Node.js function starts: `node /var/runtime/bootstrap.cjs`.

'use strict';

require('./lambent_runtime/loop.cjs').main();
