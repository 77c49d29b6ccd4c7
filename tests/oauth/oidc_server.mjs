// A real OAuth server for the tests: npm's oidc-provider with its development pages, on a port of its own.
// What it is told is one JSON object in its first argument; its issuer is the first line it prints.
import { createServer } from 'node:http';

const { modules, accessTokenSeconds, deviceSeconds } = JSON.parse(process.argv[2]);
const { Provider } = await import(`${modules}/oidc-provider/lib/index.js`);

const server = createServer();
server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const client = {
    application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    response_types: ['code'],
    // Of a loopback address any port counts (RFC 8252 7.3).
    redirect_uris: [
      'http://127.0.0.1/api/oauth/callback/real',
      'http://127.0.0.1/api/oauth/callback/secret',
      'http://127.0.0.1/nobody-listens/callback',
    ],
  };
  const provider = new Provider(issuer, {
    clients: [
      { ...client, client_id: 'public', token_endpoint_auth_method: 'none' },
      { ...client, client_id: 'confidential', client_secret: 'a secret & more', token_endpoint_auth_method: 'client_secret_basic' },
    ],
    scopes: ['openid', 'offline_access'],
    features: { devInteractions: { enabled: true }, deviceFlow: { enabled: true }, revocation: { enabled: true } },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async (ctx, granted) => granted.grantTypeAllowed('refresh_token'),
    ttl: {
      AccessToken: accessTokenSeconds, AuthorizationCode: 60, DeviceCode: deviceSeconds, Grant: 3600, IdToken: 3600,
      Interaction: 600, RefreshToken: 3600, Session: 3600,
    },
    cookies: { keys: ['only for tests'] },
  });
  provider.on('server_error', (ctx, error) => console.error(error));
  server.on('request', provider.callback());
  console.log(issuer);
});
