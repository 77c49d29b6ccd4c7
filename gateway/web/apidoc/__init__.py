"""The API described: what an endpoint takes and answers, and the OpenAPI document that is made from it."""
