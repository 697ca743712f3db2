// A certified OpenID provider on this machine, with people of invented names; and a second port on which a
// test says how the next ID token is to be spoiled.
import { createServer } from 'node:http';
import { createHmac, createSign, generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const [port, control, redirect, secret] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const pair = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
const own = pair();
const other = pair();
const jwk = { ...own.privateKey.export({ format: 'jwk' }), kid: 'one', use: 'sig', alg: 'RS256' };
const people = { ivan: ['trial-investigator', 'staff'], cora: ['trial-coordinator'], mallory: ['staff'] };

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'trialbridge', client_secret: secret, redirect_uris: [redirect],
    response_types: ['code'], grant_types: ['authorization_code'],
    token_endpoint_auth_method: 'client_secret_basic', require_auth_time: true,
  }],
  jwks: { keys: [jwk] },
  cookies: { keys: ['only for this test'] },
  pkce: { required: () => true },
  claims: { openid: ['sub', 'groups', 'name'], profile: [] },
  conformIdTokenClaims: false,
  findAccount: async (_, sub) => people[sub] && ({
    accountId: sub, claims: async () => ({ sub, groups: people[sub], name: `Dr ${sub}` }),
  }),
});

const text = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
const signed = (head, claims, key) => {
  const body = `${text(head)}.${text(claims)}`;
  return `${body}.${createSign('RSA-SHA256').update(body).sign(key).toString('base64url')}`;
};

let spoil = '';
function spoiled(token) {
  const [head, claims] = token.split('.').slice(0, 2).map((p) => JSON.parse(Buffer.from(p, 'base64url')));
  const good = { alg: 'RS256', kid: 'one', typ: 'JWT' };
  const now = Math.floor(Date.now() / 1000);
  switch (spoil) {
    case 'unsigned': return `${text({ alg: 'none' })}.${text(claims)}.`;
    case 'stripped': return token.split('.').slice(0, 2).join('.') + '.';
    case 'another-key': return signed(good, claims, other.privateKey);
    case 'public-key-as-secret': {
      const body = `${text({ alg: 'HS256', kid: 'one' })}.${text(claims)}`;
      const pem = own.publicKey.export({ type: 'spki', format: 'pem' });
      return `${body}.${createHmac('sha256', pem).update(body).digest('base64url')}`;
    }
    case 'unknown-key': return signed({ ...good, kid: '../../etc/passwd' }, claims, own.privateKey);
    case 'embedded-key': {
      const jwkOfOther = other.publicKey.export({ format: 'jwk' });
      return signed({ ...good, kid: undefined, jwk: jwkOfOther, jku: 'http://127.0.0.1:1/' }, claims, other.privateKey);
    }
    case 'expired': return signed(good, { ...claims, iat: now - 7200, exp: now - 3600 }, own.privateKey);
    case 'future': return signed(good, { ...claims, nbf: now + 3600 }, own.privateKey);
    case 'issuer': return signed(good, { ...claims, iss: 'http://127.0.0.1:1' }, own.privateKey);
    case 'audience': return signed(good, { ...claims, aud: 'somebody-else' }, own.privateKey);
    case 'nonce': return signed(good, { ...claims, nonce: 'of another sign-in' }, own.privateKey);
    case 'another-role': return signed(head, { ...claims, groups: ['trial-investigator', 'trial-coordinator'] }, own.privateKey);
    default: return token;
  }
}

provider.use(async (context, next) => {
  await next();
  if (context.path === '/token' && context.body?.id_token) {
    context.body.id_token = spoiled(context.body.id_token);
  }
});
createServer((request, response) => {
  spoil = decodeURIComponent(request.url.slice(1));
  response.end('ok');
}).listen(Number(control), '127.0.0.1');
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
