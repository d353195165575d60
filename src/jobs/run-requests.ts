import { z } from "zod";
import { metricsFields } from "../analytics/metrics-query.js";
import { messageColumns } from "../db/queries/message-rows.js";
import { csvDelimiters, csvNulls, defaultCsv } from "../exports/csv.js";
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

export const csvFields = {
  delimiter: z.enum(csvDelimiters).default(defaultCsv.delimiter),
  bom: z.boolean().default(defaultCsv.bom),
  null: z.enum(csvNulls).default(defaultCsv.null),
  header: z.boolean().default(defaultCsv.header),
  formula_guard: z.boolean().default(defaultCsv.formula_guard),
};
/** How a CSV file is written; only a request for one may say so. */
export const csvRequest = z.strictObject(csvFields);
export type CsvRequest = z.output<typeof csvRequest>;

const optionsFitFormat = (
  value: { format: string; csv?: unknown; json?: unknown },
  context: z.RefinementCtx,
) => {
  for (const format of ["csv", "json"] as const)
    if (value[format] !== undefined && value.format !== format)
      context.addIssue({
        code: "custom",
        path: [format],
        message: `is only for the format ${format}`,
        params: { code: "other_format" },
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
    csv: csvRequest.optional(),
    json: z.strictObject({ pretty: z.boolean().default(false) }).optional(),
    ...range,
    time_zone: metricsFields.time_zone,
    interval: metricsFields.interval,
    basis: metricsFields.basis,
    group_by: metricsFields.group_by.prefault(["template"]),
    filters: metricsFields.filters,
    compression: z.literal("none").default("none"),
  })
  .superRefine(endsAfterItStarts)
  .superRefine(optionsFitFormat);
export type ReportRequest = z.output<typeof reportRequest>;

export const columnName = z.enum(messageColumns.map((column) => column.name) as [string, ...string[]]);
export const exportFormats = ["csv", "ndjson"] as const;
export type ExportFormat = (typeof exportFormats)[number];

export const exportRequest = z
  .strictObject({
    account_id: account,
    dataset: z.literal("messages"),
    format: z.enum(exportFormats),
    csv: csvRequest.optional(),
    columns: z.array(columnName).min(1).optional(),
    ...range,
    filters: metricsFields.filters,
    compression: z.literal("none").default("none"),
  })
  .superRefine(endsAfterItStarts)
  .superRefine(optionsFitFormat);
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
