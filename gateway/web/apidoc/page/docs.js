// Swagger UI over this gateway's own description; nothing is fetched from elsewhere.
// A browser that was signed in to the console by a link is signed in here, too: see console/api.js.
function asSignedIn(request) {
    try {
        const token = localStorage.getItem("acp-gateway.token");
        if (token) request.headers.Authorization ??= `Bearer ${token}`;
    } catch {
        // Nothing may be kept here: then nobody is signed in.
    }
    return request;
}

window.ui = SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#api",
    deepLinking: true,
    docExpansion: "none",
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    filter: true,
    validatorUrl: null,
    requestInterceptor: asSignedIn,
});
