// An Express service behind the gateway: npm install express, then node express_service.mjs.
import express from "express";
import { identityMiddleware, KeySet, utf8, Verifier } from "whatomate-identity";

const app = express();
const verifier = new Verifier(new KeySet(process.env.KEYS_URL), { audience: process.env.AUDIENCE });
app.use(identityMiddleware(verifier, { optional: ["/healthz"] }));
app.use((req, res) => {
  res.json({
    user: req.identity?.userId ?? null,
    name: req.identity?.name ?? null,
    plain: utf8(req.get("X-User-Name") ?? ""),
    may: req.identity?.may("chat:read") ?? false,
  });
});
app.listen(Number(process.env.PORT), "127.0.0.1");
