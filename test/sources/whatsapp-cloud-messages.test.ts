import { describe, expect, it } from "vitest";
import { readWhatsappCloud } from "../../src/sources/whatsapp-cloud.js";
import {
  at,
  echo,
  inbound,
  messaging,
  occurred_at,
  onlyEvent,
  onlyReasons,
  outbound,
  received,
  status,
  user,
} from "./whatsapp-cloud-webhook.js";

describe("messages from users", () => {
  it("text: its length in code points, never itself", () => {
    expect(onlyEvent(received("text", { text: { body: "Olá 👋" } }))).toStrictEqual({
      ...inbound,
      type: "message.received",
      message_id: "wamid.in",
      occurred_at,
      content_kind: "text",
      text_length: 5,
    });
  });

  it("belongs to the business account of its entry", () => {
    expect(readWhatsappCloud(received("text")).events[0]!.namedAccount).toBe("waba-1");
  });

  it("a caption counts as text, voice notes are apart from audio", () => {
    const caption = { image: { id: "1", caption: "Taj Mahal" } };
    expect(onlyEvent(received("image", caption))).toMatchObject({ content_kind: "image", text_length: 9 });
    expect(onlyEvent(received("audio", { audio: { voice: true } })).content_kind).toBe("voice");
    expect(onlyEvent(received("audio", { audio: { voice: false } })).content_kind).toBe("audio");
  });

  it.each([
    [
      "button_reply",
      { id: "cancel", title: "Cancel" },
      { kind: "button_reply", id: "cancel", title: "Cancel" },
    ],
    [
      "list_reply",
      { id: "p1", title: "Express", description: "x" },
      { kind: "list_reply", id: "p1", title: "Express" },
    ],
    ["nfm_reply", { name: "flow", body: "Sent", response_json: "{}" }, { kind: "nfm_reply", id: "flow" }],
    ["call_permission_reply", { response: "accept" }, { kind: "call_permission_reply", id: "accept" }],
  ])("interactive %s cites our message", (type, reply, interactive) => {
    const context = { from: "15550783881", id: "wamid.ours" };
    expect(
      onlyEvent(received("interactive", { context, interactive: { type, [type]: reply } })),
    ).toStrictEqual({
      ...inbound,
      type: "message.received",
      message_id: "wamid.in",
      occurred_at,
      content_kind: "interactive",
      reply_to: "wamid.ours",
      interactive,
    });
  });

  it("a template's quick reply", () => {
    expect(onlyEvent(received("button", { button: { payload: "STOP", text: "Unsubscribe" } }))).toMatchObject(
      {
        content_kind: "button",
        interactive: { kind: "button", id: "STOP", title: "Unsubscribe" },
      },
    );
  });

  it("an order", () => {
    const event = onlyEvent(received("order", { order: { catalog_id: "1", text: "", product_items: [] } }));
    expect(event).toStrictEqual({
      ...inbound,
      type: "message.received",
      message_id: "wamid.in",
      occurred_at,
      content_kind: "order",
    });
  });

  it("what WhatsApp or this service does not know still counts as a message", () => {
    for (const type of ["unsupported", "unknown", "poll_of_tomorrow", "constructor"])
      expect(onlyEvent(received(type))).toMatchObject({
        type: "message.received",
        content_kind: "unsupported",
      });
  });

  it("but a change of some other message does not", () => {
    for (const type of ["edit", "pin"])
      expect(onlyReasons(received("unsupported", { unsupported: { type } }))).toEqual([
        "unsupported_change message:unsupported",
      ]);
  });

  it("a group message has its author as participant", () => {
    expect(onlyEvent(received("text", { group_id: "group-1" }))).toMatchObject({
      chat_kind: "group",
      chat_id: "group-1",
      contact_id: user,
      participant_id: user,
    });
  });
});

describe("users without a visible phone", () => {
  const bsuid = "US.13491208655302741918";

  it("are known by their business-scoped id", () => {
    const item = { id: "wamid.in", from_user_id: bsuid, timestamp: at, type: "text" };
    const contacts = [{ profile: { username: "sheena" }, user_id: bsuid }];
    for (const value of [{ messages: [item], contacts }, { messages: [{ ...item, from: "" }] }])
      expect(onlyEvent(messaging(value))).toMatchObject({ contact_id: bsuid, chat_id: bsuid });
  });

  it("are known by their phone where the contact list has it", () => {
    const contacts = [
      { user_id: "US.other", wa_id: "1" },
      { user_id: bsuid, wa_id: user },
    ];
    const messages = [{ id: "wamid.in", from_user_id: bsuid, timestamp: at, type: "text" }];
    expect(onlyEvent(messaging({ messages, contacts })).contact_id).toBe(user);
  });

  it("in statuses too", () => {
    const item = status("read", { recipient_id: undefined, recipient_user_id: bsuid });
    expect(onlyEvent(item)).toMatchObject({ contact_id: bsuid, chat_id: bsuid });
  });

  it("nobody at all is still a message", () => {
    expect(onlyEvent(received("text", { from: undefined }))).not.toHaveProperty("contact_id");
  });
});

describe("reactions, edits and revokes", () => {
  const reaction = { message_id: "wamid.ours", emoji: "👍" };

  it("a reaction names its target", () => {
    expect(onlyEvent(received("reaction", { reaction }))).toStrictEqual({
      ...inbound,
      type: "reaction.added",
      message_id: "wamid.in",
      occurred_at,
      reaction: { target: "wamid.ours", emoji: "👍" },
    });
  });

  it("a reaction without an emoji takes it back", () => {
    for (const removed of [{ message_id: "wamid.ours" }, { message_id: "wamid.ours", emoji: "" }])
      expect(onlyEvent(received("reaction", { reaction: removed }))).toMatchObject({
        type: "reaction.removed",
        reaction: { target: "wamid.ours" },
      });
  });

  it("edits and revokes are about the original message", () => {
    const edit = { original_message_id: "wamid.first", message: { type: "text", text: { body: "four" } } };
    expect(onlyEvent(received("edit", { edit }))).toMatchObject({
      type: "message.edited",
      message_id: "wamid.first",
      content_kind: "text",
      text_length: 4,
    });
    expect(onlyEvent(received("revoke", { revoke: { original_message_id: "wamid.first" } }))).toStrictEqual({
      ...inbound,
      type: "message.revoked",
      message_id: "wamid.first",
      occurred_at,
    });
  });

  it("without a target they are nothing", () => {
    for (const type of ["reaction", "edit", "revoke"])
      expect(onlyReasons(received(type))).toEqual([`missing_id message:${type}`]);
  });
});

describe("the phone app", () => {
  it("an echo is a message that staff sent by hand", () => {
    expect(onlyEvent(echo("text", { text: { body: "hello" } }))).toStrictEqual({
      ...outbound,
      type: "message.sent",
      message_id: "wamid.echo",
      occurred_at,
      origin: "phone_app",
      content_kind: "text",
      text_length: 5,
    });
  });

  it("staff revokes, edits and reacts too", () => {
    const original = { original_message_id: "wamid.first" };
    const sent = { ...outbound, occurred_at, origin: "phone_app", message_id: "wamid.first" };
    expect(onlyEvent(echo("revoke", { revoke: original }))).toStrictEqual({
      ...sent,
      type: "message.revoked",
    });
    expect(onlyEvent(echo("edit", { edit: original })).type).toBe("message.edited");
    const reaction = { message_id: "wamid.theirs", emoji: "🙏" };
    expect(onlyEvent(echo("reaction", { reaction }))).toMatchObject({
      type: "reaction.added",
      direction: "outbound",
    });
  });
});
