import { describe, expect, it } from "vitest";
import { readWhatsappCloud } from "../../src/sources/whatsapp-cloud.js";
import {
  at,
  message,
  messaging,
  occurred_at,
  onlyEvent,
  onlyReasons,
  readFixture,
  received,
  webhook,
} from "./whatsapp-cloud-webhook.js";

describe("what is kept aside", () => {
  it.each([
    ["calls", "no_analytics_meaning"],
    ["group_lifecycle_update", "no_analytics_meaning"],
    ["smb_app_state_sync", "no_analytics_meaning"],
    ["brand_new_field", "unknown_field"],
    ["messages", "empty"],
    ["security", "unknown_shape"],
  ])("field %s: %s", (field, reason) => {
    expect(onlyReasons(webhook(field, {}))).toEqual([`${reason} field:${field}`]);
  });

  it("errors of the system, calls and unheard-of lists among messages", () => {
    const value = { errors: [{ code: 1 }, { code: 2 }], calls: [{}], novelties: ["x"], statuses: "none" };
    expect(onlyReasons(messaging(value))).toEqual([
      "system_error error",
      "system_error error",
      "no_analytics_meaning call",
      "unknown_shape list:novelties",
      "unknown_shape list:statuses",
    ]);
  });

  it("system messages: who a contact is, not what was said", () => {
    const system = { type: "user_changed_number", wa_id: "12195555358" };
    expect(onlyReasons(received("system", { system }))).toEqual(["contact_identity_change message:system"]);
  });

  it("tests from Meta's dashboard", () => {
    const value = { messages: [message("text"), message("image")] };
    expect(onlyReasons(webhook("messages", value, { id: "0" }))).toEqual(["dashboard_test field:messages"]);
  });

  it.each([null, 7, "x", [], {}, { object: "page", entry: [] }, { object: "whatsapp_business_account" }])(
    "%j is no webhook of WhatsApp",
    (payload) => expect(onlyReasons(payload)).toEqual(["not_a_whatsapp_webhook payload"]),
  );

  it("entries that cannot be read leave the others alone", () => {
    const good = (received("text") as { entry: unknown[] }).entry[0];
    const entry = [
      null,
      { id: "w" },
      { changes: [{}] },
      { id: "w", changes: [] },
      good,
      { id: "w", changes: [null] },
    ];
    const { events, quarantined } = readWhatsappCloud({ object: "whatsapp_business_account", entry });
    expect(events).toHaveLength(1);
    expect(quarantined.map(({ reason, kind }) => `${reason} ${kind}`)).toEqual([
      "not_a_whatsapp_webhook entry",
      "not_a_whatsapp_webhook entry",
      "missing_id entry",
      "empty entry",
      "unknown_shape field:other",
    ]);
    expect(onlyReasons({ object: "whatsapp_business_account", entry: [] })).toEqual(["empty payload"]);
  });

  it.each([
    undefined,
    null,
    "",
    "yesterday",
    "1749416383.5",
    1749416383.5,
    -5,
    1e300,
    "1749416383000",
    1,
    "1",
  ])("time %j", (timestamp) =>
    expect(onlyReasons(received("text", { timestamp }))).toEqual(["bad_timestamp message:text"]),
  );

  it("an integer is a time as well as its digits", () => {
    expect(onlyEvent(received("text", { timestamp: Number(at) })).occurred_at).toBe(occurred_at);
  });

  it.each([
    ["NUL", { id: "wamid.\0" }],
    ["half a surrogate pair", { from: "\ud83d" }],
    ["an id that is too long", { id: "x".repeat(513) }],
    ["a title that is too long", { type: "button", button: { text: "x".repeat(1025) } }],
  ])("%s spoils its own message only", (_, rest) => {
    const payload = messaging({ messages: [message("text", rest), message("text", { id: "wamid.good" })] });
    const { events, quarantined } = readWhatsappCloud(payload);
    expect(events.map(({ event }) => event.message_id)).toEqual(["wamid.good"]);
    expect(quarantined.map(({ reason }) => reason)).toEqual(["invalid_event"]);
  });

  it("a business account that could name no account", () => {
    const batch = readWhatsappCloud(
      webhook("messages", { messages: [message("text")] }, { id: "w".repeat(200) }),
    );
    expect(batch.events).toEqual([]);
    expect(batch.quarantined).toMatchObject([{ reason: "invalid_event", namedAccount: "" }]);
  });

  it("the same item twice passes twice: keys tell duplicates apart later", () => {
    const twice = messaging({ messages: [message("text"), message("text")] });
    expect(readWhatsappCloud(twice).events).toHaveLength(2);
  });

  it("shapes that are not items", () => {
    expect(
      onlyReasons(messaging({ messages: [null, "x", { id: "1", timestamp: at }], statuses: [{}] })),
    ).toEqual([
      "unknown_shape message:other",
      "unknown_shape message:other",
      "unknown_shape message:other",
      "unknown_shape status:other",
    ]);
    expect(onlyReasons(received("text", { id: undefined }))).toEqual(["missing_id message:text"]);
  });
});

it("a real mixed webhook keeps each kind of item apart", () => {
  const { events } = readWhatsappCloud(
    readFixture("gokapso__whatsapp-cloud-api-js/normalize_payload_1.json"),
  );
  expect(events.map(({ event }) => [event.type, event.message_id])).toEqual([
    ["message.received", "wamid.order"],
    ["message.received", "wamid.sticker"],
    ["message.received", "wamid.flow"],
    ["message.sent", "wamid.order"],
  ]);
});
