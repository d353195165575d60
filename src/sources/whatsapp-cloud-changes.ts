import type { EventDraft, Reading } from "./source-batch.js";
import { asInstant, asList, asRecord, asText, isRecord, present, type UntrustedRecord } from "./untrusted.js";
import { baseOf, type CloudPlace, contactOf } from "./whatsapp-cloud-place.js";

type Change = NonNullable<EventDraft["change"]>;
type ChangeReader = (
  value: UntrustedRecord,
) => { kind: string } & { [K in keyof Change]?: Change[K] | undefined };

/** One element of `user_preferences[]`: a user stopped or resumed marketing messages. */
export function readPreference(item: unknown, place: CloudPlace): Reading {
  if (!isRecord(item)) return "unknown_shape";
  const [kind, value] = [asText(item.category) ?? "marketing_messages", asText(item.value)];
  if (value === undefined) return "unknown_shape";
  const contactId = contactOf(item.wa_id, item.user_id, place);
  if (contactId === undefined) return "missing_id";
  const occurredAt = asInstant(item.timestamp);
  if (occurredAt === undefined) return "bad_timestamp";
  return [
    {
      ...baseOf(place),
      type: "preference.changed",
      occurred_at: occurredAt,
      direction: "inbound",
      contact_id: contactId,
      chat_id: contactId,
      chat_kind: "direct",
      change: { kind, value, ...present({ subject: asText(item.signup_id) }) },
    },
  ];
}

const templateChanges: ReadonlyMap<string, ChangeReader> = new Map<string, ChangeReader>([
  [
    "message_template_status_update",
    (value) => ({ kind: "status", value: asText(value.event), detail: asText(value.reason) }),
  ],
  [
    "message_template_quality_update",
    (value) => ({
      kind: "quality",
      value: asText(value.new_quality_score),
      previous: asText(value.previous_quality_score),
    }),
  ],
  [
    "template_category_update",
    (value) => ({
      kind: "category",
      value: asText(value.new_category) ?? asText(value.correct_category),
      previous: asText(value.previous_category),
    }),
  ],
  ["message_template_components_update", () => ({ kind: "components", value: "EDITED" })],
]);

const subjectOf = (value: UntrustedRecord): string | undefined =>
  asText(value.display_phone_number) ??
  asText(value.phone_number) ??
  asText(asRecord(value.waba_info).waba_id);

/** Why an account was banned, restricted or disconnected, in Meta's words. */
function accountDetail(value: UntrustedRecord): string | undefined {
  const restrictions = asList(value.restriction_info).map((info) => asText(asRecord(info).restriction_type));
  return (
    asText(asRecord(value.violation_info).violation_type) ??
    asText(asRecord(value.ban_info).waba_ban_state) ??
    asText(asRecord(value.disconnection_info).reason) ??
    asText(restrictions.filter((restriction) => restriction !== undefined).join(","))
  );
}

const channelChanges: ReadonlyMap<string, ChangeReader> = new Map<string, ChangeReader>([
  [
    "account_alerts",
    (value) => ({
      kind: "account_alert",
      value:
        asText(asRecord(value.alert_info).alert_type) ?? asText(asRecord(value.alert_info).alert_severity),
      detail: asText(asRecord(value.alert_info).alert_status),
      subject: asText(value.entity_id),
    }),
  ],
  ["account_review_update", (value) => ({ kind: "account_review", value: asText(value.decision) })],
  [
    "account_update",
    (value) => ({
      kind: "account",
      value: asText(value.event),
      detail: accountDetail(value),
      subject: subjectOf(value),
    }),
  ],
  [
    "business_capability_update",
    (value) => ({
      kind: "messaging_limit",
      value:
        asText(value.max_daily_conversations_per_business) ?? asText(value.max_daily_conversation_per_phone),
    }),
  ],
  [
    "phone_number_name_update",
    (value) => ({
      kind: "name",
      value: asText(value.decision),
      detail: asText(value.rejection_reason),
      subject: subjectOf(value),
    }),
  ],
  [
    "phone_number_quality_update",
    (value) => ({
      kind: "quality",
      value: asText(value.event),
      detail: asText(value.max_daily_conversations_per_business) ?? asText(value.current_limit),
      subject: subjectOf(value),
    }),
  ],
  ["security", (value) => ({ kind: "security", value: asText(value.event), subject: subjectOf(value) })],
]);

/** Webhook fields whose whole value is one change of a template or of the account. */
export const changeFields: readonly string[] = [...templateChanges.keys(), ...channelChanges.keys()];

/** The value of a field in `changeFields`. Its time is that of the notification: Meta gives no other. */
export function readChange(field: string, value: unknown, place: CloudPlace): Reading {
  if (!isRecord(value)) return "unknown_shape";
  const template = templateChanges.get(field);
  const { value: newValue, kind, ...rest } = (template ?? channelChanges.get(field)!)(value);
  if (newValue === undefined) return "unknown_shape";
  const name = asText(value.message_template_name);
  if (template !== undefined && name === undefined) return "missing_id";
  const occurredAt = asInstant(place.entryTime);
  if (occurredAt === undefined) return "bad_timestamp";
  return [
    {
      ...baseOf(place),
      type: template === undefined ? "channel.changed" : "template.changed",
      occurred_at: occurredAt,
      direction: "none",
      template: template === undefined || name === undefined ? undefined : templateOf(name, value),
      change: { kind, value: newValue, ...present(rest) },
    },
  ];
}

const templateOf = (name: string, value: UntrustedRecord): EventDraft["template"] => ({
  name,
  ...present({
    id: asText(value.message_template_id),
    language: asText(value.message_template_language),
    category: asText(value.message_template_category) ?? asText(value.new_category),
  }),
});
