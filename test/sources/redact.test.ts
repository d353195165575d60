import fc from "fast-check";
import { expect, test } from "vitest";
import { redact } from "../../src/sources/redact.js";

test("keeps ids, types, codes and times; removes what somebody wrote", () => {
  const item = {
    id: "wamid.A=",
    from: "16505551234",
    timestamp: "1749416383",
    type: "text",
    text: { body: "hello" },
    context: { id: "wamid.B", forwarded: true },
    errors: [{ code: 131047, title: "Re-engagement" }],
    location: { latitude: 1.5 },
    key: { remoteJid: "49@s.whatsapp.net", fromMe: true, participant: "Ann from work" },
    mediaKey: "c2VjcmV0",
    note: "something new",
    "Dear Ann": 5,
  };
  expect(redact(item)).toEqual({
    id: "wamid.A=",
    from: "16505551234",
    timestamp: "1749416383",
    type: "text",
    text: "[removed]",
    context: { id: "wamid.B", forwarded: true },
    errors: [{ code: 131047, title: "[removed]" }],
    location: "[removed]",
    key: { remoteJid: "49@s.whatsapp.net", fromMe: true, participant: "[removed]" },
    mediaKey: "[removed]",
    note: "[removed]",
    "[removed]": "[removed]",
  });
  expect(redact({ id: "a sentence", type: "a\0b", status: "\ud83d" })).toEqual({
    id: "[removed]",
    type: "[removed]",
    status: "[removed]",
  });
});

test("whatever comes in, what comes out is plain ASCII JSON, and redacting it again changes nothing", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const once = redact(value);
      expect(JSON.stringify(once)).toMatch(/^[\x20-\x7e]*$/);
      expect(redact(once)).toEqual(once);
    }),
  );
});
