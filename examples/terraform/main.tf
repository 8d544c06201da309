# See docs/terraform.md. AWS_ENDPOINT_URL says where Lambent is; nothing here does.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

provider "aws" {
  region = "us-east-1"
}

resource "aws_iam_role" "hello" {
  name = "hello-terraform"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "lambda.amazonaws.com" } }]
  })
}

resource "aws_cloudwatch_log_group" "hello" {
  name              = "/aws/lambda/hello-terraform"
  retention_in_days = 7
}

resource "aws_lambda_function" "hello" {
  function_name    = "hello-terraform"
  role             = aws_iam_role.hello.arn
  runtime          = "python3.11"
  handler          = "index.handler"
  filename         = "function.zip"
  source_code_hash = filebase64sha256("function.zip")
  depends_on       = [aws_cloudwatch_log_group.hello]
}

resource "aws_lambda_function_url" "hello" {
  function_name      = aws_lambda_function.hello.function_name
  authorization_type = "NONE"
}

# Whoever calls a URL needs both: to use the URL, and to invoke what is behind it.
resource "aws_lambda_permission" "url" {
  statement_id           = "url"
  action                 = "lambda:InvokeFunctionUrl"
  function_name          = aws_lambda_function.hello.function_name
  principal              = "*"
  function_url_auth_type = "NONE"
}

resource "aws_lambda_permission" "invoke" {
  statement_id             = "invoke"
  action                   = "lambda:InvokeFunction"
  function_name            = aws_lambda_function.hello.function_name
  principal                = "*"
  invoked_via_function_url = true
}

output "url" {
  value = aws_lambda_function_url.hello.function_url
}
