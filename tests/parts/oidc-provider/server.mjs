// An OpenID provider for the tests: panva's oidc-provider, unmodified, with a person who logs in and consents at once.
//
//   node server.mjs PORT        0 = a free port; prints one line `READY http://127.0.0.1:PORT`
//
// OIDC_CLIENTS holds the clients' metadata as a JSON array, secrets included, made by whoever starts this. OIDC_ISSUER, if
// set, is the name that others know it by, as in a cluster; it then listens on all addresses.
// Access tokens are RS256 JWTs for the resource urn:shop. `resource=urn:opaque` gives an opaque access token instead.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const scopes = 'orders:read orders:write';
const person = { accountId: 'alice', claims: { email: 'alice@example.com', roles: ['reader', 'writer'] } };

const host = process.env.OIDC_ISSUER ? undefined : '127.0.0.1';
const server = createServer();
await new Promise((resolve) => server.listen({ port: Number(process.argv[2] ?? 0), host }, resolve));
const issuer = process.env.OIDC_ISSUER ?? `http://127.0.0.1:${server.address().port}`;
const cookieKey = randomBytes(32).toString('hex');
let keys = [signingKey()];
let provider = providerOf(keys);
server.on('request', (req, res) => {
  Promise.resolve(handle(req, res)).catch((error) => {
    console.error(error);
    res.writeHead(500).end();
  });
});
console.log(`READY ${issuer}`);

function handle(req, res) {
  if (req.url.startsWith('/interaction/')) return interact(req, res);
  if (req.url.startsWith('/operator/')) return operate(req, res);
  return provider.callback()(req, res);
}

// What an operator would do: sign with a new key that is published beside the old ones, or publish that one alone. The
// library takes its keys when it is made, and keeps what it has issued outside of itself.
function operate(req, res) {
  keys = req.url === '/operator/rotate' ? [signingKey(), ...keys] : [keys[0]];
  provider = providerOf(keys);
  res.writeHead(204).end();
}

function providerOf(keys) {
  return new Provider(issuer, {
    clients: JSON.parse(process.env.OIDC_CLIENTS ?? '[]'),
    jwks: { keys },
    cookies: { keys: [cookieKey] },
    scopes: ['openid', 'offline_access'],
    claims: { openid: ['sub'], email: ['email'] },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...person.claims }) }),
    extraTokenClaims: () => ({ tenant: 'acme', roles: person.claims.roles, profile: { level: 3 } }),
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    // Long enough that no test runs into them; the library warns where they are left out.
    ttl: { AccessToken: 600, AuthorizationCode: 60, ClientCredentials: 600, Grant: 3600, IdToken: 600, Interaction: 600, RefreshToken: 3600, Session: 3600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:shop',
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource) => ({
          audience: resource,
          scope: scopes,
          accessTokenTTL: 600,
          accessTokenFormat: resource === 'urn:opaque' ? 'opaque' : 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  });
}

function signingKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kid = randomBytes(8).toString('hex');
  return { ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' };
}

// What a person would do in a browser: log in, then agree to everything that is asked.
async function interact(req, res) {
  const details = await provider.interactionDetails(req, res);
  const result = details.prompt.name === 'login' ? { login: { accountId: person.accountId } } : await consent(details);
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
}

async function consent({ params, session, grantId }) {
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope('openid offline_access');
  grant.addResourceScope(params.resource ?? 'urn:shop', scopes);
  return { consent: { grantId: await grant.save() } };
}
