// What a program does that uses the AWS SDK for JavaScript against a server; each line that it prints is one fact.

import {
  CreateFunctionCommand,
  DeleteFunctionCommand,
  GetFunctionConfigurationCommand,
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  LambdaClient,
  PutFunctionEventInvokeConfigCommand,
  ResourceNotFoundException,
  paginateListFunctions,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda';
import { readFileSync } from 'node:fs';

const [, , FunctionName, Runtime, packageFile] = process.argv;
const client = new LambdaClient({ maxAttempts: 1 });
const tell = (fact) => console.log(JSON.stringify(fact));
const text = (bytes) => new TextDecoder().decode(bytes);

const Role = 'arn:aws:iam::000000000000:role/lambda-role';
const Code = { ZipFile: readFileSync(packageFile) };
await client.send(new CreateFunctionCommand({ FunctionName, Runtime, Role, Code, Handler: 'index.handler' }));
await waitUntilFunctionActiveV2({ client, maxWaitTime: 60, minDelay: 1 }, { FunctionName });

const { Payload } = await client.send(new InvokeCommand({ FunctionName, Payload: JSON.stringify({ to: 'Ångström' }) }));
tell(JSON.parse(text(Payload)));

const { EventStream } = await client.send(new InvokeWithResponseStreamCommand({ FunctionName, Payload: '{"to":"all"}' }));
for await (const event of EventStream) {
  tell(event.PayloadChunk ? text(event.PayloadChunk.Payload) : event.InvokeComplete);
}

const missing = await client.send(new InvokeCommand({ FunctionName: 'none' })).catch((error) => error);
tell([missing instanceof ResourceNotFoundException, missing.$metadata.httpStatusCode, missing.Type, missing.message]);

const config = await client.send(new PutFunctionEventInvokeConfigCommand({ FunctionName, MaximumRetryAttempts: 1 }));
tell(config.LastModified instanceof Date);
tell((await client.send(new GetFunctionConfigurationCommand({ FunctionName }))).State);

let count = 0;
for await (const page of paginateListFunctions({ client, pageSize: 1 }, {})) {
  count += page.Functions.filter((found) => found.FunctionName === FunctionName).length;
}
tell(count);
tell((await client.send(new DeleteFunctionCommand({ FunctionName }))).$metadata.httpStatusCode);
