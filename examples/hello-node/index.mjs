let calls = 0;

export const handler = async (event, context) => {
  calls += 1;
  console.log('%d ms are left', context.getRemainingTimeInMillis());
  return { greeting: `Hello, ${event.name ?? 'world'}!`, calls, logStream: context.logStreamName };
};
