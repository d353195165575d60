import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { verifyWahaSignature } from "../../src/sources/waha-signature.js";

const key = "my-secret-key";
const body = Buffer.from('{"event":"message","session":"default","engine":"WEBJS"}');
const sign = (bytes: Buffer, secret: string, algorithm = "sha512") =>
  createHmac(algorithm, secret).update(bytes).digest("hex");
const hmac = sign(body, key);
const verify = (rest: { hmac?: string; algorithm?: string }, keys = [key], bytes = body) =>
  verifyWahaSignature(bytes, { hmac, algorithm: undefined, ...rest }, keys);

describe("a signature of WAHA", () => {
  it("agrees with the test vector in WAHA's documentation", () => {
    expect(hmac).toMatch(/^208f8a55/);
    expect(verify({})).toBe(true);
    expect(verify({ algorithm: "sha512" })).toBe(true);
  });

  it("fits any of the keys, and no other", () => {
    expect(verify({}, ["an-older-key", key])).toBe(true);
    expect(verify({}, [key, "a-newer-key"])).toBe(true);
    expect(verify({}, ["another-key"])).toBe(false);
    expect(verify({}, [])).toBe(false);
    expect(verify({ hmac: sign(body, "") }, [""])).toBe(false);
  });

  it("fits no other bytes: each single changed byte is noticed", () => {
    for (let at = 0; at < body.length; at += 1) {
      const changed = Buffer.from(body);
      changed[at]! ^= 1;
      expect(verify({}, [key], changed)).toBe(false);
    }
  });

  it.each([
    ["empty", ""],
    ["of another algorithm", sign(body, key, "sha256")],
    ["in upper-case hex", hmac.toUpperCase()],
    ["too short", hmac.slice(0, -2)],
    ["too long", `${hmac}00`],
    ["followed by a line break", `${hmac}\n`],
    ["with a prefix", `sha512=${hmac}`],
  ])("is refused when %s", (_, given) => expect(verify({ hmac: given })).toBe(false));

  it("is refused when its algorithm is another, even if it would fit", () => {
    expect(verify({ algorithm: "sha256" })).toBe(false);
    expect(verify({ algorithm: "none", hmac: "" })).toBe(false);
  });
});
