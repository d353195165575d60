import { describe, expect, it } from "vitest";
import { readWhatsappCloud } from "../../src/sources/whatsapp-cloud.js";
import { errorClasses, errorClassOf } from "../../src/sources/whatsapp-cloud-errors.js";
import { at, messaging, occurred_at, onlyEvent, outbound, status, user } from "./whatsapp-cloud-webhook.js";

describe("statuses", () => {
  it.each(["accepted", "sent", "delivered", "read", "played", "deleted"])("%s", (value) => {
    expect(onlyEvent(status(value))).toStrictEqual({
      ...outbound,
      type: `message.${value}`,
      message_id: "wamid.out",
      occurred_at,
    });
  });

  it("failed says why, and what kind of trouble it is", () => {
    const errors = [
      { code: 131047, title: "Re-engagement message", message: "x", error_data: { details: "y" } },
    ];
    expect(onlyEvent(status("failed", { errors }))).toStrictEqual({
      ...outbound,
      type: "message.failed",
      message_id: "wamid.out",
      occurred_at,
      error: { code: "131047", class: "window", title: "Re-engagement message" },
    });
    expect(onlyEvent(status("failed"))).not.toHaveProperty("error");
  });

  it("a price as Meta said it, and the callback data as campaign", () => {
    const pricing = {
      billable: true,
      pricing_model: "PMP",
      type: "regular",
      category: "authentication-international",
    };
    expect(
      onlyEvent(status("delivered", { pricing, biz_opaque_callback_data: "spring-sale" })),
    ).toMatchObject({
      pricing: { billable: true, model: "PMP", type: "regular", category: "authentication-international" },
      campaign_id: "spring-sale",
    });
  });

  it("in a group, one for each participant", () => {
    const group = { recipient_id: "group-1", recipient_type: "group" };
    const event = onlyEvent(status("read", { ...group, recipient_participant_id: user }));
    expect(event).toMatchObject({ chat_kind: "group", chat_id: "group-1", participant_id: user });
    expect(event).not.toHaveProperty("contact_id");
    expect(
      onlyEvent(status("read", { ...group, recipient_participant_user_id: "US.1" })).participant_id,
    ).toBe("US.1");
  });

  it("a word of tomorrow is kept aside, and its neighbours pass", () => {
    const of = (value: string) => ({ id: value, status: value, timestamp: at });
    const { events, quarantined } = readWhatsappCloud(
      messaging({ statuses: ["sent", "warning", "read"].map(of) }),
    );
    expect(events.map(({ event }) => event.type)).toEqual(["message.sent", "message.read"]);
    expect(quarantined).toStrictEqual([
      {
        namedAccount: "waba-1",
        channelId: "phone-1",
        kind: "status:warning",
        reason: "unknown_status",
        payload: { id: "warning", status: "warning", timestamp: at },
      },
    ]);
  });
});

describe("error classes", () => {
  it("name every listed code once", () => {
    const codes = Object.values(errorClasses).flat();
    expect(new Set(codes).size).toBe(codes.length);
    for (const [errorClass, listed] of Object.entries(errorClasses))
      for (const code of listed) if (/^\d+$/.test(code)) expect(errorClassOf(code)).toBe(errorClass);
  });

  it("cover the permission range and nothing beside it", () => {
    expect(["199", "200", "250", "299", "300"].map(errorClassOf)).toEqual([
      "other",
      "platform",
      "platform",
      "platform",
      "other",
    ]);
    expect(["999999", "", "constructor"].map(errorClassOf)).toEqual(["other", "other", "other"]);
  });
});
