import { describe, expect, it } from "vitest";
import { isBroadcastFeed, partiesOf, preferPhone, userOf } from "../../src/sources/jid.js";
import { parseSerializedId, withoutParticipant } from "../../src/sources/serialized-id.js";
import { instantOfMs, instantOfSeconds } from "../../src/sources/web-time.js";

describe("an address", () => {
  it.each([
    ["16505551234@c.us", "16505551234"],
    ["16505551234@s.whatsapp.net", "16505551234"],
    ["16505551234:12@s.whatsapp.net", "16505551234"],
    ["16505551234_1:12@s.whatsapp.net", "16505551234"],
    ["98765:3@lid", "98765@lid"],
    ["somebody", "somebody"],
    ["120@g.us", "120@g.us"],
  ])("%s is %s", (jid, user) => expect(userOf(jid)).toBe(user));

  it("that tells the phone is preferred, wherever it stands", () => {
    expect(preferPhone("98765@lid", "1@s.whatsapp.net")).toBe("1@s.whatsapp.net");
    expect(preferPhone("1@s.whatsapp.net", "98765@lid")).toBe("1@s.whatsapp.net");
    expect(preferPhone("98765@lid", undefined)).toBe("98765@lid");
    expect(preferPhone(undefined, "98765@lid")).toBe("98765@lid");
  });

  it("of a story or a channel is no chat; a broadcast list is one", () => {
    expect(["status@broadcast", "120@newsletter", "49@broadcast", "1@c.us"].map(isBroadcastFeed)).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(partiesOf("outbound", "49@broadcast", undefined)).toMatchObject({ chat_kind: "broadcast" });
  });

  it("of a group has a participant where somebody else wrote", () => {
    const group = { chat_kind: "group", chat_id: "120@g.us" };
    expect(partiesOf("inbound", "120@g.us", "1@c.us")).toEqual({
      ...group,
      direction: "inbound",
      contact_id: "1",
      participant_id: "1",
    });
    expect(partiesOf("outbound", "120@g.us", "1@c.us")).toEqual({ ...group, direction: "outbound" });
  });
});

describe("a serialized id", () => {
  it("falls into its parts", () => {
    expect(parseSerializedId("false_1@c.us_ABC")).toEqual({ fromMe: false, chat: "1@c.us", core: "ABC" });
    const inGroup = parseSerializedId("true_120@g.us_ABC_9@lid");
    expect(inGroup).toEqual({ fromMe: true, chat: "120@g.us", core: "ABC", participant: "9@lid" });
    expect(withoutParticipant(inGroup!)).toBe("true_120@g.us_ABC");
  });

  it.each([undefined, "", "ABC", "true_ABC", "maybe_1@c.us_ABC", "true_1@c.us_", "true_1@c.us_A B", "\n"])(
    "%j is none",
    (text) => expect(parseSerializedId(text)).toBeUndefined(),
  );
});

describe("a time", () => {
  const instant = "2025-06-08T20:59:43.000Z";
  it.each<[unknown, string | undefined]>([
    [1749416383, instant],
    ["1749416383", instant],
    [{ low: 1749416383, high: 0, unsigned: true }, instant],
    [{ low: 1749416383 | 0, high: 0, unsigned: false }, instant],
    [1749416383.853, "2025-06-08T20:59:43.853Z"],
    ...[
      0,
      -1,
      "",
      "soon",
      "1e9",
      " 1749416383",
      null,
      {},
      { low: 1 },
      { low: 1.5, high: 0 },
      [1749416383],
    ].map((value): [unknown, undefined] => [value, undefined]),
    [Number.NaN, undefined],
    [{ low: 0, high: 2 ** 31 }, undefined],
    [1e300, undefined],
  ])("%j seconds", (value, expected) => expect(instantOfSeconds(value)).toBe(expected));

  it("in milliseconds beyond 32 bits", () => {
    const ms = Date.parse(instant);
    const long = { low: ms | 0, high: Math.floor(ms / 2 ** 32), unsigned: true };
    expect([ms, String(ms), long].map(instantOfMs)).toEqual([instant, instant, instant]);
  });
});
