import { Webhook } from "standardwebhooks";
import { expect, it } from "vitest";
import { generateSecret, secretText, signedHeaders } from "../../src/delivery/sign-webhook.js";

/** Of the specification's own tests. */
const vector = {
  secret: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
  timestamp: 1614265330,
  body: '{"test": 2432232314}',
  signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
};

it("signs the specification's example as it does", () => {
  const message = { id: vector.id, body: vector.body, sentAt: new Date(vector.timestamp * 1000 + 999) };
  expect(signedHeaders(message, [Buffer.from(vector.secret, "base64")])).toEqual({
    "webhook-id": vector.id,
    "webhook-timestamp": String(vector.timestamp),
    "webhook-signature": vector.signature,
  });
});

it("is verified by another implementation with the old and the new secret, and with no other", () => {
  const [old, next, foreign] = [generateSecret(), generateSecret(), generateSecret()];
  const body = JSON.stringify({ type: "run.succeeded", data: { text: "grüße 🌿" } });
  const headers = signedHeaders({ id: "one", body, sentAt: new Date() }, [next, old]);
  for (const secret of [old, next])
    expect(new Webhook(secretText(secret)).verify(body, headers)).toEqual(JSON.parse(body));
  expect(() => new Webhook(secretText(foreign)).verify(body, headers)).toThrow();
  expect(() => new Webhook(secretText(next)).verify(`${body} `, headers)).toThrow();
  expect(() => new Webhook(secretText(next)).verify(body, { ...headers, "webhook-id": "two" })).toThrow();
});

it("makes secrets of 32 random bytes", () => {
  expect(generateSecret()).toHaveLength(32);
  expect(secretText(generateSecret())).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
});
