import { z } from "zod";
import type { Context } from "../../context.js";
import { findAccount } from "../../db/queries/accounts.js";
import { chatExists, readTimeline, type TimelineRow } from "../../db/queries/timeline.js";
import { InvalidInput, NotFound } from "../../errors.js";
import { safeText } from "../../safe-text.js";
import { timeQualities } from "../../sources/canonical-event.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { readQuery } from "../input.js";
import { decodeCursor, pageParametersUpTo, toPage } from "../pagination.js";
import { pathId, type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";

const MAX_LIMIT = 200;

const idText = safeText(512);

const EARLIEST = new Date("2000-01-01T00:00:00Z");
const LATEST = new Date("2100-01-01T00:00:00Z");

const instant = z.iso
  .datetime({ offset: true, error: "must be an RFC 3339 time, like 2025-01-31T00:00:00Z" })
  .transform((text) => new Date(text))
  .refine((time) => time >= EARLIEST && time <= LATEST, {
    error: "must lie from 2000-01-01 to 2100-01-01",
    params: { code: "time_out_of_range" },
  });

const parameters = z.strictObject({
  ...pageParametersUpTo(MAX_LIMIT),
  account_id: accountIdText,
  from: instant.optional(),
  to: instant.optional(),
  channel_id: idText.optional(),
  order: z.enum(["asc", "desc"], { error: "must be asc or desc" }).default("desc"),
});

const place = z.tuple([z.iso.datetime({ precision: 6 }).startsWith("2"), z.boolean(), idText]);

/** `GET /analytics/timeline/{chat}`: one conversation, message by message. */
export function timelineRoutes({ db }: Context): Route[] {
  return [
    route({
      method: "get",
      path: "/analytics/timeline/:chat",
      access: ["viewer"],
      async handler(request, response) {
        const query = readQuery(request, parameters);
        const accountId = query.account_id;
        requireAccount(request.identity, accountId);
        const chat = pathId(request, "chat");
        if (query.from && query.to && query.from >= query.to)
          throw InvalidInput.of([{ path: "to", code: "empty_range", message: "must be later than from" }]);
        const rows = await readTimeline(db, {
          accountId,
          chat,
          channelId: query.channel_id,
          from: query.from,
          to: query.to,
          order: query.order,
          after: query.cursor === undefined ? undefined : decodeCursor(place, query.cursor),
          limit: query.limit + 1,
        });
        if (rows.length === 0 && !(await chatExists(db, accountId, chat))) {
          if (!(await findAccount(db, accountId))) throw accountNotFound();
          throw new NotFound("chat_not_found", "This account has no conversation with this chat or contact.");
        }
        response.json(toPage(rows, query.limit, presentMessage, placeOf));
      },
    }),
  ];
}

const placeOf = (row: TimelineRow) => [row.place_at, row.direction === "outbound", row.message_id];

const presentMessage = (row: TimelineRow) => ({
  message_id: row.message_id,
  at: row.anchor_at.toISOString(),
  time_quality: timeQualities[row.time_quality],
  direction: row.direction,
  status: row.status,
  channel_id: row.channel_id,
  chat_id: row.chat_id,
  chat_kind: row.chat_kind,
  contact_id: row.contact_id,
  content_kind: row.content_kind,
  text_length: row.text_length,
  reply_to: row.reply_to,
  origin: row.origin,
  agent_id: row.agent_id,
  campaign_id: row.campaign_id,
  template: row.template === null ? null : presentTemplate(row),
  error: row.error_code === null ? null : presentError(row),
  reactions: row.reactions.map(({ at, ...reaction }) => ({ ...reaction, at: new Date(at).toISOString() })),
  ...Object.fromEntries(
    Object.entries(row.stages).map(([name, time]) => [name, time?.toISOString() ?? null]),
  ),
});

const presentTemplate = (row: TimelineRow) => ({
  name: row.template,
  id: row.template_id,
  language: row.template_language,
  category: row.template_category,
});

const presentError = (row: TimelineRow) => ({
  code: row.error_code,
  class: row.error_class,
  title: row.error_title,
});
