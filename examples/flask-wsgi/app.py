"""A Flask application as a function: serverless-wsgi turns each event of its URL into a request, and the answer back."""

import serverless_wsgi
from flask import Flask, jsonify, make_response, redirect, request

app = Flask(__name__)


@app.get("/")
def index():
    return f"<h1>Hello, {request.args.get('name', 'world')}!</h1>"


@app.post("/form")
def form():
    response = make_response(jsonify(dict(request.form)))
    response.set_cookie("seen", "yes")
    response.set_cookie("twice", "yes")
    return response


@app.get("/cookies")
def cookies():
    return jsonify(dict(request.cookies))


@app.get("/old")
def old():
    return redirect("/")


def handler(event, context):
    return serverless_wsgi.handle_request(app, event, context)
