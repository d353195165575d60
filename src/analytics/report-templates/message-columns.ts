/** The columns of a message in files, in their order; `src/db/datasets/messages.ts` says what each holds. */
export const messageColumnNames = [
  "account_id",
  "message_id",
  "channel_id",
  "chat_id",
  "contact_id",
  "direction",
  "content_kind",
  "template",
  "campaign_id",
  "queued_at",
  "sent_at",
  "delivered_at",
  "read_at",
  "played_at",
  "failed_at",
  "received_at",
  "error_code",
  "error_class",
  "status",
  "updated_at",
] as const;
export type MessageColumnName = (typeof messageColumnNames)[number];
