// The one module that is loaded before any function's; see spare.cjs.

export const handler = async () => {};
