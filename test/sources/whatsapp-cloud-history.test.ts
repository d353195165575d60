import { describe, expect, it } from "vitest";
import { readWhatsappCloud } from "../../src/sources/whatsapp-cloud.js";
import {
  history,
  inbound,
  message,
  messaging,
  occurred_at,
  onlyEvent,
  onlyReasons,
  outbound,
  user,
} from "./whatsapp-cloud-webhook.js";

describe("history", () => {
  const theirs = message("text", { text: { body: "hi" } });
  const ours = (state?: string) => ({
    ...message("image"),
    id: "wamid.ours",
    from: "+1 555-078-3881",
    to: user,
    ...(state === undefined ? {} : { history_context: { status: state } }),
  });

  it("knows both sides", () => {
    const { events } = readWhatsappCloud(history([theirs, ours()]));
    expect(events.map(({ event }) => event)).toStrictEqual([
      {
        ...inbound,
        type: "message.received",
        message_id: "wamid.in",
        occurred_at,
        content_kind: "text",
        text_length: 2,
      },
      {
        ...outbound,
        type: "message.sent",
        message_id: "wamid.ours",
        occurred_at,
        content_kind: "image",
        origin: "phone_app",
      },
    ]);
  });

  it("an echo without a receiver went to the user of the thread", () => {
    expect(onlyEvent(history([{ ...ours(), to: undefined }])).contact_id).toBe(user);
  });

  it.each([
    ["SENT", [["message.sent", "provider"]]],
    [
      "DELIVERED",
      [
        ["message.sent", "provider"],
        ["message.delivered", "inferred"],
      ],
    ],
    [
      "READ",
      [
        ["message.sent", "provider"],
        ["message.read", "inferred"],
      ],
    ],
    [
      "PLAYED",
      [
        ["message.sent", "provider"],
        ["message.played", "inferred"],
      ],
    ],
    ["PENDING", [["message.queued", "provider"]]],
    ["ERROR", [["message.failed", "inferred"]]],
  ])("a later stage has no time of its own: %s", (state, stages) => {
    const { events, quarantined } = readWhatsappCloud(history([ours(state)]));
    expect(events.map(({ event }) => [event.type, event.time_quality])).toEqual(stages);
    expect(quarantined).toEqual([]);
  });

  it("what cannot be told is kept aside", () => {
    expect(onlyReasons(history([ours("EATEN"), { ...theirs, from: undefined }, 7]))).toEqual([
      "unknown_status history:image",
      "unknown_shape history:text",
      "unknown_shape history:other",
    ]);
    expect(onlyReasons(history([]))).toEqual(["no_analytics_meaning history:chunk"]);
    const declined = { threads: undefined, errors: [{ code: 2593109 }] };
    expect(onlyReasons(history([], declined))).toEqual(["system_error history:error"]);
  });

  it("media that is sent after its placeholder may come from either side", () => {
    const { events } = readWhatsappCloud(messaging({ messages: [theirs, ours()] }, "history"));
    expect(events.map(({ event }) => event.type)).toEqual(["message.received", "message.sent"]);
  });
});
