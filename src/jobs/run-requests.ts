import { z } from "zod";
import { metricsFields } from "../analytics/metrics-query.js";
import { messageColumns } from "../db/queries/message-rows.js";
import { safeText } from "../safe-text.js";

/**
 * What can be asked for, as the HTTP body says it. The same schema reads the parameters that a run's row has kept, so
 * a job sees what the caller wrote, with the account's zone filled in.
 */
const account = safeText(128);

const range = {
  from: metricsFields.from,
  to: metricsFields.to,
};

const endsAfterItStarts = (value: { from: Date; to: Date }, context: z.RefinementCtx) => {
  if (value.from >= value.to)
    context.addIssue({
      code: "custom",
      path: ["to"],
      message: "must be later than from",
      params: { code: "empty_range" },
    });
};

export const reportTemplates = ["delivery-summary", "message-log"] as const;
export const reportFormats = ["csv", "json", "ndjson", "xlsx"] as const;
export type ReportFormat = (typeof reportFormats)[number];

export const reportRequest = z
  .strictObject({
    account_id: account,
    template: z.enum(reportTemplates),
    format: z.enum(reportFormats),
    ...range,
    time_zone: metricsFields.time_zone,
    interval: metricsFields.interval,
    basis: metricsFields.basis,
    group_by: metricsFields.group_by.prefault(["template"]),
    filters: metricsFields.filters,
    compression: z.literal("none").default("none"),
  })
  .superRefine(endsAfterItStarts);
export type ReportRequest = z.output<typeof reportRequest>;

export const columnName = z.enum(messageColumns.map((column) => column.name) as [string, ...string[]]);
export const exportFormats = ["csv", "ndjson"] as const;
export type ExportFormat = (typeof exportFormats)[number];

export const exportRequest = z
  .strictObject({
    account_id: account,
    dataset: z.literal("messages"),
    format: z.enum(exportFormats),
    columns: z.array(columnName).min(1).optional(),
    ...range,
    filters: metricsFields.filters,
    compression: z.literal("none").default("none"),
  })
  .superRefine(endsAfterItStarts);
export type ExportRequest = z.output<typeof exportRequest>;

export const aggregationRequest = z
  .strictObject({
    account_id: account,
    action: z.enum(["verify", "recompute"]),
    from: range.from.optional(),
    to: range.to.optional(),
  })
  .superRefine((value, context) => {
    if (value.from && value.to) endsAfterItStarts({ from: value.from, to: value.to }, context);
  });
export type AggregationRequest = z.output<typeof aggregationRequest>;
