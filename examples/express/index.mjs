import serverlessExpress from '@codegenie/serverless-express';
import express from 'express';

const app = express();
app.use(express.json(), express.urlencoded({ extended: false }));

app.get('/', (request, response) => {
  response.send(`<h1>Hello, ${request.query.name ?? 'world'}!</h1>`);
});

app.post('/items', (request, response) => {
  response.cookie('last', request.body.name).cookie('count', '1');
  response.status(201).json(request.body);
});

app.get('/old', (request, response) => response.redirect('/'));

app.put('/digest', express.raw({ type: '*/*' }), (request, response) => {
  response.type('application/octet-stream').send(Buffer.from(request.body).reverse());
});

app.use((request, response) => response.status(404).json({ message: `no ${request.path} here` }));

export const handler = serverlessExpress({ app, binarySettings: { contentTypes: ['application/octet-stream'] } });
