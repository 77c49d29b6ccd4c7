"""What stands between HTTP and the rooms below: routes, handlers, middleware, the API's document and the console."""
