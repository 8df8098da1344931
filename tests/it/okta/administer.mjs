// Administers a running Scopegate with Okta's own Node SDK, which knows nothing of it: everything is made, read
// back, changed, and deleted again. Then Okta's own verifier judges a token.
//
// It runs where the SDK is installed (target/peers/okta). The environment says where Scopegate is and who we are:
//   ORG_URL (the management API), ISSUER_URL, CLIENT_ID, PRIVATE_KEY (a JWK), and NODE_EXTRA_CA_CERTS with the CA of
//   `dev: true`.
// Each step that has been shown prints one line; a step that fails ends the run.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'

const installed = createRequire(`${process.cwd()}/`)
const okta = installed('@okta/okta-sdk-nodejs')
const OktaJwtVerifier = installed('@okta/jwt-verifier')

const { ORG_URL: orgUrl, ISSUER_URL: issuerUrl, CLIENT_ID: clientId, PRIVATE_KEY: privateKey } = process.env
const scopes = [
  'okta.authorizationServers.manage',
  'okta.apps.manage',
  'okta.users.manage',
  'okta.groups.manage',
  'okta.logs.read',
]
const client = new okta.Client({
  orgUrl,
  authorizationMode: 'PrivateKey',
  clientId,
  scopes: scopes.join(' '),
  privateKey,
  // What is read must come from the server each time.
  cacheMiddleware: null,
})
const { authorizationServerApi: servers, applicationApi: apps, userApi: users, groupApi: groups } = client

const shown = (step) => console.log(`shown: ${step}`)
const all = async (collection) => {
  const found = []
  await (await collection).each((item) => { found.push(item) })
  return found
}
const refused = async (work, status, code) => {
  const error = await work().then(() => assert.fail(`not refused with ${status}`), (error) => error)
  assert.equal(error.status, status, String(error))
  assert.equal(error.errorCode, code, String(error))
}

// === an authorization server with what is in it

const server = await servers.createAuthorizationServer({
  authorizationServer: {
    name: 'Payments',
    description: 'Who may move money',
    audiences: ['https://payments.bank.example'],
  },
})
const at = { authServerId: server.id }
assert.equal(server.status, 'ACTIVE')
assert.equal(server.issuer, `${issuerUrl}/oauth2/${server.id}`)
assert.equal(server.credentials.signing.use, 'sig')
shown('an authorization server is created')

for (const [name, consent] of [['payments:read', 'IMPLICIT'], ['payments:write', 'REQUIRED']]) {
  const scope = await servers.createOAuth2Scope({ ...at, oAuth2Scope: { name, consent, description: name } })
  assert.equal((await servers.getOAuth2Scope({ ...at, scopeId: scope.id })).name, name)
}
const ours = (await all(servers.listOAuth2Scopes(at))).filter((scope) => !scope.system).map((scope) => scope.name)
assert.deepEqual(ours.sort(), ['payments:read', 'payments:write'])
await refused(() => servers.createOAuth2Scope({ ...at, oAuth2Scope: { name: 'payments:read' } }), 400, 'E0000001')
shown('scopes are created and read back')

const claim = await servers.createOAuth2Claim({
  ...at,
  oAuth2Claim: {
    name: 'tier',
    status: 'ACTIVE',
    claimType: 'RESOURCE',
    valueType: 'EXPRESSION',
    value: '"gold"',
    conditions: { scopes: [] },
    alwaysIncludeInToken: true,
  },
})
assert.equal((await servers.getOAuth2Claim({ ...at, claimId: claim.id })).value, '"gold"')
shown('a claim is created and read back')

// === an app, a user, a group, and who may use what

const app = await apps.createApplication({
  application: {
    name: 'oidc_client',
    label: 'Batch',
    signOnMode: 'OPENID_CONNECT',
    credentials: { oauthClient: { token_endpoint_auth_method: 'client_secret_basic', autoKeyRotation: true } },
    settings: {
      oauthClient: {
        application_type: 'web',
        grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
        response_types: ['code'],
        redirect_uris: ['https://app.bank.example/callback'],
      },
    },
  },
})
const { client_id: appClient, client_secret: secret } = app.credentials.oauthClient
assert.equal(appClient, app.id)
assert.ok(secret.length >= 32)
const read = await apps.getApplication({ appId: app.id })
assert.equal(read.label, 'Batch')
assert.deepEqual(read.settings.oauthClient.redirect_uris, ['https://app.bank.example/callback'])
assert.equal(read.credentials.oauthClient.client_secret, undefined)
shown('an app is created, and its secret is shown once')

await client.schemaApi.updateUserProfile({
  schemaId: 'default',
  userSchema: { definitions: { custom: { id: '#custom', type: 'object', properties: {
    branch: { title: 'Branch', type: 'string', maxLength: 20 },
  } } } },
})
const schema = await client.schemaApi.getUserSchema({ schemaId: 'default' })
assert.equal(schema.definitions.custom.properties.branch.type, 'string')
const user = await users.createUser({
  body: {
    profile: {
      firstName: 'Alice', lastName: 'Archer', login: 'alice@bank.example', email: 'alice@bank.example', branch: 'north',
    },
    credentials: { password: { value: 'correct horse battery staple' } },
  },
  activate: true,
})
assert.equal(user.status, 'ACTIVE')
assert.equal(user.profile.branch, 'north')
assert.equal((await users.getUser({ userId: 'alice@bank.example' })).id, user.id)
user.profile.lastName = 'Baker'
assert.equal((await users.updateUser({ userId: user.id, user: { profile: { lastName: 'Baker' } } })).profile.lastName, 'Baker')
await refused(() => users.createUser({ body: { profile: { login: 'bob@bank.example', email: 'bob@bank.example', shoe: 44 } } }), 400, 'E0000001')
shown('a user is created within the schema, read back and changed')

const group = await groups.createGroup({ group: { profile: { name: 'tellers', description: 'At the counter' } } })
await groups.assignUserToGroup({ groupId: group.id, userId: user.id })
assert.deepEqual((await all(groups.listGroupUsers({ groupId: group.id }))).map((member) => member.id), [user.id])
assert.ok((await all(users.listUserGroups({ userId: user.id }))).some((member) => member.id === group.id))
shown('a group is created and has a member')

await apps.assignUserToApplication({ appId: app.id, appUser: { id: user.id, scope: 'USER' } })
await apps.assignGroupToApplication({ appId: app.id, groupId: group.id, applicationGroupAssignment: {} })
assert.deepEqual((await all(apps.listApplicationUsers({ appId: app.id }))).map((one) => one.id), [user.id])
assert.deepEqual((await all(apps.listApplicationGroupAssignments({ appId: app.id }))).map((one) => one.id), [group.id])
shown('the user and the group are assigned to the app')

// === a policy with two rules, whose order changes

const policy = await servers.createAuthorizationServerPolicy({
  ...at,
  policy: {
    type: 'OAUTH_AUTHORIZATION_POLICY',
    name: 'Batch',
    description: 'What the batch may do',
    status: 'ACTIVE',
    priority: 1,
    conditions: { clients: { include: [app.id] } },
  },
})
const inPolicy = { ...at, policyId: policy.id }
const rule = (name, scope, minutes, grants) => servers.createAuthorizationServerPolicyRule({
  ...inPolicy,
  policyRule: {
    type: 'RESOURCE_ACCESS',
    name,
    status: 'ACTIVE',
    conditions: {
      people: { users: { include: [], exclude: [] }, groups: { include: ['EVERYONE'], exclude: [] } },
      grantTypes: { include: grants },
      scopes: { include: [scope] },
    },
    actions: {
      token: { accessTokenLifetimeMinutes: minutes, refreshTokenLifetimeMinutes: 0, refreshTokenWindowMinutes: 10080 },
    },
  },
})
const narrow = await rule('narrow', 'payments:read', 5, ['client_credentials'])
const wide = await rule('wide', '*', 60, ['client_credentials', 'authorization_code'])
const order = async () => (await all(servers.listAuthorizationServerPolicyRules(inPolicy)))
  .sort((one, other) => one.priority - other.priority)
  .map((one) => one.name)
assert.deepEqual(await order(), ['narrow', 'wide'])
assert.equal((await servers.getAuthorizationServerPolicyRule({ ...inPolicy, ruleId: narrow.id })).name, 'narrow')
const mint = async (scope) => {
  const response = await fetch(`${server.issuer}/v1/token`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${app.id}:${secret}`).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope }),
  })
  return { status: response.status, ...(await response.json()) }
}
assert.equal((await mint('payments:read')).expires_in, 300)
shown('a policy with two rules decides, the first one that matches')

await servers.replaceAuthorizationServerPolicyRule({ ...inPolicy, ruleId: wide.id, policyRule: { ...wide, priority: 1 } })
assert.deepEqual(await order(), ['wide', 'narrow'])
const answer = await mint('payments:read')
assert.equal(answer.expires_in, 3600)
shown('the order of the rules is changed, and with it what is decided')

// === the verifier

const verifier = new OktaJwtVerifier({ issuer: server.issuer, clientId: app.id, assertClaims: { cid: app.id } })
const audience = 'https://payments.bank.example'
const { claims } = await verifier.verifyAccessToken(answer.access_token, audience)
assert.deepEqual(claims.scp, ['payments:read'])
assert.equal(claims.tier, 'gold')
assert.equal(claims.aud, audience)
await assert.rejects(verifier.verifyAccessToken(answer.access_token, 'https://other.example'), /audience/)
const other = new OktaJwtVerifier({ issuer: server.issuer, assertClaims: { cid: 'somebody-else' } })
await assert.rejects(other.verifyAccessToken(answer.access_token, audience), /cid/)
shown('the verifier accepts the token with its client and audience, and no other')

// === keys

const keys = async () => Object.fromEntries((await all(servers.listAuthorizationServerKeys(at))).map((key) => [key.status, key.kid]))
const before = await keys()
await all(servers.rotateAuthorizationServerKeys({ ...at, use: { use: 'sig' } }))
const after = await keys()
assert.equal(after.ACTIVE, before.NEXT)
assert.equal(after.EXPIRED, before.ACTIVE)
await verifier.verifyAccessToken(answer.access_token, audience)
const fresh = new OktaJwtVerifier({ issuer: server.issuer, assertClaims: { cid: app.id } })
await fresh.verifyAccessToken((await mint('payments:read')).access_token, audience)
shown('the keys are rotated, and both old and new tokens verify')

// === the log

const made = await all(client.systemLogApi.listLogEvents({ filter: 'eventType eq "oauth2.as.created"', limit: 10 }))
assert.ok(made.some((event) => event.target.some((target) => target.id === server.id)))
assert.ok(made.every((event) => event.eventType === 'oauth2.as.created' && event.actor.id === clientId))
shown('the log says who made what')

// === and everything goes again

await refused(() => apps.deleteApplication({ appId: app.id }), 403, 'E0000056')
await apps.unassignUserFromApplication({ appId: app.id, userId: user.id })
await apps.unassignApplicationFromGroup({ appId: app.id, groupId: group.id })
await servers.deleteAuthorizationServerPolicyRule({ ...inPolicy, ruleId: narrow.id })
await servers.deleteAuthorizationServerPolicy(inPolicy)
await servers.deleteOAuth2Claim({ ...at, claimId: claim.id })
await apps.deactivateApplication({ appId: app.id })
await apps.deleteApplication({ appId: app.id })
await groups.deleteGroup({ groupId: group.id })
await users.deactivateUser({ userId: user.id })
await users.deleteUser({ userId: user.id })
await servers.deactivateAuthorizationServer(at)
await servers.deleteAuthorizationServer(at)
await refused(() => servers.getAuthorizationServer(at), 404, 'E0000007')
await refused(() => apps.getApplication({ appId: app.id }), 404, 'E0000007')
await refused(() => groups.getGroup({ groupId: group.id }), 404, 'E0000007')
await refused(() => users.getUser({ userId: user.id }), 404, 'E0000007')
assert.equal((await mint('payments:read')).status, 404)
shown('everything is deleted')
