import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { verifyWhatsappSignature } from "../../src/sources/whatsapp-signature.js";

const secret = "app-secret-of-the-test";
const body = Buffer.from('{"object":"whatsapp_business_account","entry":[],"text":"Ol\\u00e1"}');
const sign = (bytes: Buffer, key: string) =>
  `sha256=${createHmac("sha256", key).update(bytes).digest("hex")}`;
const signature = sign(body, secret);

describe("a signature", () => {
  it("agrees with the published HMAC-SHA-256 test vector", () => {
    const vector = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    expect(verifyWhatsappSignature(Buffer.from("what do ya want for nothing?"), vector, ["Jefe"])).toBe(true);
  });

  it("fits the raw bytes and any of the secrets", () => {
    expect(verifyWhatsappSignature(body, signature, [secret])).toBe(true);
    expect(verifyWhatsappSignature(body, signature, ["an-older-secret", secret])).toBe(true);
    expect(verifyWhatsappSignature(body, signature, [secret, "a-newer-secret"])).toBe(true);
    expect(verifyWhatsappSignature(Buffer.alloc(0), sign(Buffer.alloc(0), secret), [secret])).toBe(true);
  });

  it("fits no other bytes: each single changed byte is noticed", () => {
    for (let at = 0; at < body.length; at += 1) {
      const changed = Buffer.from(body);
      changed[at]! ^= 1;
      expect(verifyWhatsappSignature(changed, signature, [secret])).toBe(false);
    }
  });

  it("does not fit the same JSON written anew", () => {
    const anew = Buffer.from(JSON.stringify(JSON.parse(body.toString())));
    expect(verifyWhatsappSignature(anew, signature, [secret])).toBe(false);
  });

  it("fits no other secret, and nothing without a secret", () => {
    expect(verifyWhatsappSignature(body, signature, ["another-secret"])).toBe(false);
    expect(verifyWhatsappSignature(body, signature, [])).toBe(false);
    expect(verifyWhatsappSignature(body, sign(body, ""), [""])).toBe(false);
  });

  it.each([
    ["missing", undefined],
    ["empty", ""],
    ["without its prefix", signature.slice(7)],
    ["with a prefix of another algorithm", signature.replace("sha256", "sha1")],
    ["in upper-case hex", `sha256=${signature.slice(7).toUpperCase()}`],
    ["with an upper-case prefix", signature.replace("sha256", "SHA256")],
    ["too short", signature.slice(0, -2)],
    ["too long", `${signature}00`],
    ["followed by a line break", `${signature}\n`],
    ["after a space", ` ${signature}`],
    ["given twice", `${signature}, ${signature}`],
  ])("is refused when %s", (_, header) => {
    expect(verifyWhatsappSignature(body, header, [secret])).toBe(false);
  });
});
