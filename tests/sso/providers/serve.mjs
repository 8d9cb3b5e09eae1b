// An identity provider of others on loopback. Arguments: its name, and the folder of its modules. It prints its port, reads
// one line of JSON about the gateway ({client, secret, callback, back, logout, email, algorithm}), prints "ready" and serves.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [name, modules] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(`${modules}/node_modules/${path}`));

const key = (type, options) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
  use: "sig",
});

async function strict(server, issuer, gateway) {
  const { default: Provider } = await load("oidc-provider/lib/index.js");
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: gateway.client,
        client_secret: gateway.secret,
        redirect_uris: [gateway.callback],
        post_logout_redirect_uris: [gateway.back],
        backchannel_logout_uri: gateway.logout,
        backchannel_logout_session_required: true,
        id_token_signed_response_alg: gateway.algorithm, // of its logout tokens, too
      },
    ],
    jwks: { keys: [key("rsa", { modulusLength: 2048 }), key("ed25519")] },
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    // Its own guard against private addresses would keep its logout tokens from a gateway on loopback.
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
    pkce: { required: () => true },
    features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
    findAccount: (_context, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: gateway.email, email_verified: true, name: "Agent Smith" }),
    }),
  });
  server.on("request", provider.callback());
}

async function mock() {
  const { OAuth2Server } = await load("oauth2-mock-server/dist/index.mjs");
  const made = new OAuth2Server();
  await made.issuer.keys.generate("RS256");
  await made.start(0, "127.0.0.1");
  return [made, made.address().port];
}

if (name === "oidc-provider") {
  const server = createServer();
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    console.log(port);
    createInterface({ input: process.stdin }).once("line", async (line) => {
      await strict(server, `http://127.0.0.1:${port}`, JSON.parse(line));
      console.log("ready");
    });
  });
} else {
  const [made, port] = await mock();
  made.issuer.url = `http://127.0.0.1:${port}`;
  console.log(port);
  createInterface({ input: process.stdin }).once("line", (line) => {
    const gateway = JSON.parse(line);
    made.service.on("beforeUserinfo", (answer) => {
      Object.assign(answer.body, { email: gateway.email, email_verified: true, name: "Agent Smith" });
    });
    console.log("ready");
  });
}
