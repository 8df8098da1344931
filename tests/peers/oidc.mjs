// A foreign OpenID provider for the tests: the certified `oidc-provider`, minting JWT access tokens by client
// credentials (client `till`, secret `secret`) for the resource `https://shop.example`.
//
// It prints one line of JSON with its issuer when it listens. Under /control, POST tells it to misbehave:
//   rotate   sign with a new key from now on; the old one stays in the key set
//   retire   drop every key but the one that signs
//   down, up answer everything with 503, or as usual
// GET /control/fetches says how often its key set was fetched.
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

// Installed under target/peers/node, which is where this runs; this file is somewhere else.
const installed = createRequire(`${process.cwd()}/`).resolve('oidc-provider')
const { default: Provider } = await import(pathToFileURL(installed))

const newKey = () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'ES256' }
}

let keys = [newKey()]
let down = false
let fetches = 0
let issuer
let handle

const provide = () => {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: 'till',
      client_secret: 'secret',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      id_token_signed_response_alg: 'ES256',
    }],
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    cookies: { keys: [randomUUID()] },
    scopes: ['openid', 'shop:read', 'shop:write'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: 'shop:read shop:write',
          audience: 'shop',
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  })
  handle = provider.callback()
}

const control = {
  '/control/rotate': () => { keys = [newKey(), ...keys]; provide() },
  '/control/retire': () => { keys = keys.slice(0, 1); provide() },
  '/control/down': () => { down = true },
  '/control/up': () => { down = false },
  '/control/fetches': () => {},
}

const server = createServer((request, response) => {
  const act = control[request.url]
  if (act) {
    act()
    response.end(JSON.stringify({ fetches }))
  } else if (down) {
    response.writeHead(503).end()
  } else {
    if (request.url === '/jwks') fetches += 1
    handle(request, response)
  }
})

server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`
  provide()
  console.log(JSON.stringify({ issuer }))
})
