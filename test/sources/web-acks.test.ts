import { describe, expect, it } from "vitest";
import { readBaileys } from "../../src/sources/baileys.js";
import { eventKeyText } from "../../src/sources/event-key.js";
import { readWaha } from "../../src/sources/waha.js";
import { readWhatsappWebJs } from "../../src/sources/whatsapp-web-js.js";
import { at, occurred_at, onlyEvent, onlyEvents, onlyReasons, receivedAt } from "./web-sources.js";

const you = "16505551234@c.us";
const webJsAck = (ack: unknown) => ({
  session: "sales",
  event: "message_ack",
  args: [{ id: { fromMe: true, remote: you, id: "A", _serialized: `true_${you}_A` }, timestamp: at }, ack],
});
const baileysAck = (status: unknown, rest: object = {}) => ({
  session: "sales",
  event: "messages.update",
  data: [
    {
      key: { remoteJid: "16505551234@s.whatsapp.net", id: "A", fromMe: true },
      update: { status, ...rest },
    },
  ],
});
const wahaAck = (ack: unknown, rest: object = {}, payload: object = {}) => ({
  id: "evt_1",
  event: "message.ack",
  session: "sales",
  payload: { id: `true_${you}_A`, from: you, fromMe: true, ack, ...payload },
  ...rest,
});

const STEPS = ["failed", "queued", "sent", "delivered", "read", "played"].map((step) => `message.${step}`);

describe("the scale of", () => {
  it.each([-1, 0, 1, 2, 3, 4])("whatsapp-web.js: %d", (ack) => {
    expect(onlyEvent(readWhatsappWebJs, webJsAck(ack)).type).toBe(STEPS[ack + 1]);
  });
  it.each([-1, 0, 1, 2, 3, 4])("WAHA: %d", (ack) => {
    expect(onlyEvent(readWaha, wahaAck(ack)).type).toBe(STEPS[ack + 1]);
  });
  it.each([0, 1, 2, 3, 4, 5])("Baileys: %d", (status) => {
    expect(onlyEvent(readBaileys, baileysAck(status)).type).toBe(STEPS[status]);
  });

  it("Baileys and WAHA by name, as they write enums into JSON", () => {
    const baileys = ["ERROR", "PENDING", "SERVER_ACK", "DELIVERY_ACK", "READ", "PLAYED"];
    expect(baileys.map((name) => onlyEvent(readBaileys, baileysAck(name)).type)).toEqual(STEPS);
    const waha = ["ERROR", "PENDING", "SERVER", "DEVICE", "READ", "PLAYED"];
    const named = waha.map((ackName) => wahaAck(null, {}, { ackName }));
    expect(named.map((payload) => onlyEvent(readWaha, payload).type)).toEqual(STEPS);
  });

  it.each([-2, 5, 1.5, "3", "DELIVERY_ACK", "constructor", null, undefined, true, {}, [2]])(
    "whatsapp-web.js and WAHA has no %j",
    (ack) => {
      expect(onlyReasons(readWhatsappWebJs, webJsAck(ack))).toEqual(["unknown_status event:message_ack"]);
      expect(onlyReasons(readWaha, wahaAck(ack))).toEqual(["unknown_status event:message.ack"]);
    },
  );
  it.each([-1, 6, 2.5, "3", "DEVICE", "constructor", true, {}, [2]])("Baileys has no %j", (status) => {
    expect(onlyReasons(readBaileys, baileysAck(status))).toEqual(["unknown_status event:messages.update"]);
  });
});

describe("jumps", () => {
  it.each([
    ["whatsapp-web.js", readWhatsappWebJs, [webJsAck(1), webJsAck(3)]],
    ["Baileys", readBaileys, [baileysAck(2), baileysAck(4)]],
    ["WAHA", readWaha, [wahaAck(1), wahaAck(3)]],
  ] as const)("of %s leave out what nobody said", (_, read, payloads) => {
    expect(payloads.map((payload) => onlyEvent(read, payload).type)).toEqual([
      "message.sent",
      "message.read",
    ]);
  });
});

describe("the time of a step", () => {
  it("is that of its arrival, never that of the message", () => {
    const event = onlyEvent(readWhatsappWebJs, webJsAck(3));
    expect(event).toMatchObject({ occurred_at: receivedAt, time_quality: "observed" });
  });

  it("is the gateway's if it stamps what it sends", () => {
    const event = onlyEvent(readWaha, wahaAck(3, { timestamp: at * 1000 + 7 }));
    expect(event).toMatchObject({ occurred_at: "2025-06-08T20:59:43.007Z", time_quality: "gateway" });
  });

  it("is WhatsApp's where Baileys passes it on", () => {
    const event = onlyEvent(readBaileys, baileysAck(3, { messageTimestamp: at }));
    expect(event).toMatchObject({ occurred_at, time_quality: "provider" });
    const untimed = [undefined, null, 0, "0", { low: 0, high: 0, unsigned: true }].map(
      (messageTimestamp) => onlyEvent(readBaileys, baileysAck(3, { messageTimestamp })).time_quality,
    );
    expect(new Set(untimed)).toEqual(new Set(["observed"]));
    expect(onlyReasons(readBaileys, baileysAck(3, { messageTimestamp: "soon" }))).toEqual([
      "bad_timestamp event:messages.update",
    ]);
  });

  it("makes no second event of a step that is repeated later", () => {
    const keys = ["2025-06-08T21:30:00.000Z", "2025-06-08T22:45:00.000Z"].map((later) =>
      eventKeyText(readWhatsappWebJs(webJsAck(2), later).events[0]!.event),
    );
    expect(keys[0]).toBe(keys[1]);
  });
});

describe("groups", () => {
  const g = "120363000000000001@g.us";

  it("Baileys: an event for each participant and step", () => {
    const receipt = (participant: string, times: object) => ({
      key: { remoteJid: g, id: "A", fromMe: true, participant },
      receipt: { userJid: participant, ...times },
    });
    const data = [
      receipt("111:3@s.whatsapp.net", { receiptTimestamp: at }),
      receipt("222@lid", { receiptTimestamp: String(at), readTimestamp: { low: at, high: 0 } }),
    ];
    const events = onlyEvents(readBaileys, { event: "message-receipt.update", data });
    expect(events.map(({ type, participant_id }) => [type, participant_id])).toEqual([
      ["message.delivered", "111"],
      ["message.delivered", "222@lid"],
      ["message.read", "222@lid"],
    ]);
    for (const event of events) {
      expect(event).toMatchObject({ message_id: "A", chat_kind: "group", chat_id: g, occurred_at });
      expect(event.contact_id).toBeUndefined();
    }
    expect(new Set(events.map(eventKeyText)).size).toBe(3);
  });

  it("WAHA: the reader behind the id is the participant, and the message is one", () => {
    const ack = (reader: string, me?: object) =>
      onlyEvent(
        readWaha,
        wahaAck(
          3,
          { event: "message.ack.group", me },
          { id: `true_${g}_A_${reader}`, from: g, participant: reader },
        ),
      );
    const readers = ["111@c.us", "222@lid"].map((reader) => ack(reader));
    expect(readers.map((event) => event.participant_id)).toEqual(["111", "222@lid"]);
    expect(new Set(readers.map((event) => event.message_id))).toEqual(new Set([`true_${g}_A`]));
    expect(readers[0]).toMatchObject({ chat_kind: "group", chat_id: g, direction: "outbound" });
    expect(ack("111@c.us", { id: "111@c.us" }).participant_id).toBeUndefined();
  });
});
