import { describe, expect, it } from "vitest";
import {
  at,
  inbound,
  messaging,
  occurred_at,
  onlyEvent,
  onlyReasons,
  user,
  webhook,
} from "./whatsapp-cloud-webhook.js";

describe("preferences, templates, channels", () => {
  it("a user stops marketing messages", () => {
    const item = {
      wa_id: user,
      category: "marketing_messages",
      value: "stop",
      timestamp: Number(at),
      detail: "x",
    };
    expect(onlyEvent(messaging({ user_preferences: [item] }, "user_preferences"))).toStrictEqual({
      ...inbound,
      type: "preference.changed",
      occurred_at,
      change: { kind: "marketing_messages", value: "stop" },
    });
  });

  const template = {
    message_template_id: 1689556908129832,
    message_template_name: "order_confirmation",
    message_template_language: "en_US",
  };
  const named = { name: "order_confirmation", id: "1689556908129832", language: "en_US" };

  it.each([
    [
      "message_template_status_update",
      { event: "REJECTED", reason: "SCAM", message_template_category: "UTILITY" },
      { kind: "status", value: "REJECTED", detail: "SCAM" },
      { category: "UTILITY" },
    ],
    [
      "message_template_quality_update",
      { previous_quality_score: "GREEN", new_quality_score: "YELLOW" },
      { kind: "quality", value: "YELLOW", previous: "GREEN" },
      {},
    ],
    [
      "template_category_update",
      { previous_category: "UTILITY", new_category: "MARKETING" },
      { kind: "category", value: "MARKETING", previous: "UTILITY" },
      { category: "MARKETING" },
    ],
    [
      "message_template_components_update",
      { message_template_element: "Thank you, {{1}}" },
      { kind: "components", value: "EDITED" },
      {},
    ],
  ])("%s", (field, value, change, more) => {
    expect(onlyEvent(webhook(field, { ...template, ...value }, { time: Number(at) }))).toStrictEqual({
      source: "whatsapp_cloud",
      time_quality: "provider",
      type: "template.changed",
      occurred_at,
      direction: "none",
      template: { ...named, ...more },
      change,
    });
  });

  it("an id that lost digits on the way is left out", () => {
    const value = { ...template, event: "APPROVED", message_template_id: Number("12345678901234567890") };
    const event = onlyEvent(webhook("message_template_status_update", value, { time: at }));
    expect(event.template).toStrictEqual({ name: "order_confirmation", language: "en_US" });
  });

  it("a number changes its quality", () => {
    const value = { display_phone_number: "16505551111", event: "FLAGGED", current_limit: "TIER_10K" };
    expect(onlyEvent(webhook("phone_number_quality_update", value, { time: Number(at) }))).toStrictEqual({
      source: "whatsapp_cloud",
      time_quality: "provider",
      type: "channel.changed",
      occurred_at,
      direction: "none",
      change: { kind: "quality", value: "FLAGGED", detail: "TIER_10K", subject: "16505551111" },
    });
  });

  it("without the time of the notification, a change has none", () => {
    expect(onlyReasons(webhook("security", { event: "PIN_CHANGED" }))).toEqual([
      "bad_timestamp field:security",
    ]);
  });
});
