import { describe, expect, it } from "vitest";
import { readBaileys } from "../../src/sources/baileys.js";
import type { SourceEvent } from "../../src/sources/canonical-event.js";
import { eventKeyText } from "../../src/sources/event-key.js";
import { readWaha } from "../../src/sources/waha.js";
import { readWhatsappWebJs } from "../../src/sources/whatsapp-web-js.js";
import { at, fixtureOf, occurred_at, onlyEvent, onlyEvents, onlyReasons, receivedAt } from "./web-sources.js";

const webJs = (name: string) => onlyEvent(readWhatsappWebJs, fixtureOf("whatsapp-web-js", `${name}.json`));
const baileys = (name: string) => onlyEvents(readBaileys, fixtureOf("baileys", `${name}.json`));
const waha = (name: string) => onlyEvent(readWaha, fixtureOf("waha", `devlikeapro__waha-docs/${name}.json`));

const direct = { chat_kind: "direct", chat_id: "16505551234", contact_id: "16505551234" } as const;
const keysOf = (events: readonly SourceEvent[]) => new Set(events.map(eventKeyText));

describe("whatsapp-web.js", () => {
  const you = "16505551234@c.us";

  it("an inbound message", () => {
    expect(webJs("message__text")).toEqual({
      ...direct,
      source: "whatsapp_web_js",
      channel_id: "sales",
      type: "message.received",
      direction: "inbound",
      message_id: `false_${you}_3EB0A1`,
      occurred_at,
      time_quality: "provider",
      content_kind: "text",
      text_length: 11,
    });
  });

  it("message and message_create are one event", () => {
    expect(keysOf([webJs("message__text"), webJs("message_create__inbound")]).size).toBe(1);
  });

  it("our own messages: where they come from, and how far they are", () => {
    expect(webJs("message_create__from_phone")).toMatchObject({
      ...direct,
      type: "message.sent",
      direction: "outbound",
      origin: "phone_app",
    });
    expect(webJs("message_create__pending")).toMatchObject({ type: "message.queued", origin: "unknown" });
  });

  it("a group names who wrote", () => {
    const parts = { chat_kind: "group", chat_id: "120363000000000001@g.us", participant_id: "16505551234" };
    expect(webJs("message__group")).toMatchObject({ ...parts, direction: "inbound" });
  });

  it("a reply names what it answers, a chosen button which it was", () => {
    expect(webJs("message__reply").reply_to).toBe(`true_${you}_3EB0B1`);
    const interactive = { kind: "button_reply", id: "yes", title: "Yes please" };
    expect(webJs("message__button_reply").interactive).toEqual(interactive);
    expect(webJs("message__button_reply").text_length).toBeUndefined();
  });

  it("reactions, edits and revocations name the message they are about", () => {
    const target = `true_${you}_3EB0B1`;
    expect(webJs("message_reaction__added").reaction).toEqual({ target, emoji: "👍" });
    expect(webJs("message_reaction__removed").reaction).toEqual({ target });
    const about = `false_${you}_3EB0A1`;
    expect(webJs("message_edit")).toMatchObject({
      message_id: about,
      text_length: 5,
      occurred_at: "2025-06-08T21:00:13.250Z",
      time_quality: "provider",
    });
    const revoked = { message_id: about, occurred_at: receivedAt, time_quality: "observed" };
    expect(webJs("message_revoke_everyone")).toMatchObject(revoked);
    expect(webJs("message_revoke_everyone__unknown_before")).toMatchObject(revoked);
  });

  it("the time of the forwarder is the gateway's", () => {
    expect(webJs("message_ack__read_by_data")).toMatchObject({
      type: "message.read",
      occurred_at: "2025-06-08T21:00:43.000Z",
      time_quality: "gateway",
    });
  });
});

describe("Baileys", () => {
  it("an inbound message", () => {
    expect(baileys("upsert__conversation")).toEqual([
      {
        ...direct,
        source: "baileys",
        channel_id: "sales",
        type: "message.received",
        direction: "inbound",
        message_id: "BA01",
        occurred_at,
        time_quality: "provider",
        content_kind: "text",
        text_length: 11,
      },
    ]);
  });

  it("the phone is preferred to the hidden address, which has to do without one", () => {
    expect(baileys("upsert__hidden_phone").map(({ contact_id }) => contact_id)).toEqual([
      "16505551234",
      "98765@lid",
    ]);
    expect(baileys("upsert__group")[0]!.participant_id).toBe("16505551234");
    expect(baileys("receipt__group").map(({ participant_id }) => participant_id)).toEqual([
      "16505551234",
      "4915550000002",
      "4915550000002",
    ]);
  });

  it("a reaction in messages.upsert and in messages.reaction is one event", () => {
    const twice = [baileys("upsert__reaction")[0]!, baileys("reaction__added_and_removed")[0]!];
    expect(twice[0]).toMatchObject({ type: "reaction.added", reaction: { target: "BAOUT1", emoji: "👍" } });
    expect(keysOf(twice).size).toBe(1);
  });

  it("history says how far a message came, not when", () => {
    const [, sent, read, lost] = baileys("history");
    expect(sent).toMatchObject({ type: "message.sent", time_quality: "provider", origin: "unknown" });
    expect(read).toMatchObject({ type: "message.read", time_quality: "inferred" });
    expect(lost).toMatchObject({ type: "message.failed", time_quality: "inferred" });
  });

  it("wrapped media keep their kind and caption, quotes their id", () => {
    expect(baileys("upsert__ephemeral_document")[0]).toMatchObject({
      content_kind: "document",
      text_length: 9,
    });
    expect(baileys("upsert__extended_text_reply")[0]!.reply_to).toBe("BAOUT1");
  });

  it("a message wrapped without end is none", () => {
    let message: unknown = { conversation: "x" };
    for (let layer = 0; layer < 20; layer++) message = { viewOnceMessage: { message } };
    const item = { key: { remoteJid: "1@s.whatsapp.net", id: "A" }, messageTimestamp: at, message };
    const payload = { event: "messages.upsert", data: { messages: [item] } };
    expect(onlyReasons(readBaileys, payload)).toEqual(["unknown_shape event:messages.upsert"]);
  });

  it("a list may come in place of the object of ev.process, each with a session of its own", () => {
    const data = { keys: [{ remoteJid: "1@s.whatsapp.net", id: "A" }] };
    const events = [
      { event: "messages.delete", data },
      { event: "messages.delete", data, session: "support" },
    ];
    const found = onlyEvents(readBaileys, { session: "sales", events });
    expect(found.map(({ channel_id }) => channel_id)).toEqual(["sales", "support"]);
  });

  it.each([
    [{}, "not_an_event payload"],
    [{ events: [] }, "empty payload"],
    [{ events: {} }, "empty payload"],
    [{ event: "messages.upsert", data: { messages: [] } }, "empty event:messages.upsert"],
    [{ event: "messages.upsert", data: {} }, "unknown_shape event:messages.upsert"],
    [{ event: "messages.update", data: [{ key: { id: "A" } }] }, "unknown_shape event:messages.update"],
    [{ event: "messages.update", data: [{ update: {} }] }, "unknown_shape event:messages.update"],
    [{ event: "messages.delete", data: { keys: [{}] } }, "missing_id event:messages.delete"],
  ])("%j: %s", (payload, reason) => expect(onlyReasons(readBaileys, payload)).toEqual([reason]));
});

describe("WAHA", () => {
  const chat = "11111111111@c.us";
  const envelope = (event: string, payload: object, rest: object = {}) => ({
    id: "evt_1",
    timestamp: at * 1000,
    session: "sales",
    event,
    payload: { id: "false_16505551234@c.us_A", timestamp: at, from: "16505551234@c.us", ...payload },
    ...rest,
  });
  const kindOf = (payload: object) => onlyEvent(readWaha, envelope("message", payload)).content_kind;

  it("a message of ours, written in the app", () => {
    expect(waha("events__message__j01")).toEqual({
      source: "waha",
      channel_id: "default",
      type: "message.sent",
      direction: "outbound",
      chat_kind: "direct",
      chat_id: "11111111111",
      contact_id: "11111111111",
      message_id: `true_${chat}_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA`,
      occurred_at: "2022-11-04T11:31:25.000Z",
      time_quality: "provider",
      content_kind: "text",
      text_length: 9,
      origin: "phone_app",
    });
  });

  it("message and message.any are one event, each with an evt_ of its own", () => {
    const twice = ["message", "message.any"].map((event) =>
      onlyEvent(readWaha, envelope(event, { body: "x" }, { id: `evt_${event}` })),
    );
    expect(keysOf(twice).size).toBe(1);
  });

  it("edits and revocations find the message by WhatsApp's id", () => {
    expect(waha("events__message.edited__j06").message_id).toBe("false_1231243123@c.us_AAAAAAAAAAAAAAAA");
    expect(waha("events__message.revoked__j07").message_id).toBe("false_1231243123@c.us_AAAAAAAAAAAAAAAA");
    expect(onlyReasons(readWaha, envelope("message.edited", {}))).toEqual([
      "missing_id event:message.edited",
    ]);
  });

  it("a reaction has its own time, to the fraction", () => {
    expect(waha("events__message.reaction__01")).toMatchObject({
      type: "reaction.added",
      occurred_at: "2024-03-15T05:38:31.853Z",
      time_quality: "provider",
      reaction: { target: "true_79111111@c.us_11111111111111111111111111111111", emoji: "🙏" },
    });
  });

  it("a reply names what it answers", () => {
    const reply = (replyTo: object) => onlyEvent(readWaha, envelope("message", { replyTo })).reply_to;
    expect(reply({ id: "true_16505551234@c.us_B_9@c.us" })).toBe("true_16505551234@c.us_B");
    expect(reply({ id: "B", participant: "49@c.us" })).toBe("true_16505551234@c.us_B");
    expect(reply({ id: "B", participant: "16505551234@c.us" })).toBe("false_16505551234@c.us_B");
    expect(reply({ id: "B" })).toBeUndefined();
  });

  it.each<[object, string]>([
    [{ body: "x" }, "text"],
    [{ hasMedia: true, media: { mimetype: "image/jpeg" } }, "image"],
    [{ hasMedia: true, media: { mimetype: "image/webp" } }, "sticker"],
    [{ hasMedia: true, media: { mimetype: "audio/ogg; codecs=opus" } }, "voice"],
    [{ hasMedia: true, media: { mimetype: "audio/mpeg" } }, "audio"],
    [{ hasMedia: true, media: { mimetype: "application/pdf" } }, "document"],
    [{ hasMedia: true }, "media_placeholder"],
    [{ location: { latitude: "1" } }, "location"],
    [{ vCards: ["BEGIN:VCARD"] }, "contacts"],
    [{}, "unsupported"],
    [{ _data: { type: "ptt" }, hasMedia: true }, "voice"],
    [{ _data: { message: { stickerMessage: {} } } }, "sticker"],
    [{ _data: { message: { pollCreationMessage: {} } }, body: "Lunch?" }, "unsupported"],
  ])("%j is of kind %s", (payload, kind) => expect(kindOf(payload)).toBe(kind));

  it("what nobody wrote counts nothing", () => {
    for (const _data of [{ type: "e2e_notification" }, { message: { protocolMessage: {} } }])
      expect(onlyReasons(readWaha, envelope("message", { _data }))).toEqual([
        "no_analytics_meaning event:message",
      ]);
  });

  it("the hidden address gives way to the phone that the engine knows", () => {
    const payload = {
      id: "false_9@lid_A",
      from: "9@lid",
      _data: { key: { remoteJidAlt: "1@s.whatsapp.net" } },
    };
    expect(onlyEvent(readWaha, envelope("message", payload)).contact_id).toBe("1");
  });
});
