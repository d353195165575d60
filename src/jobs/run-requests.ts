import { z } from "zod";
import { filterFields, metricsFields, metricsLists } from "../analytics/metrics-query.js";
import { localeName, templateName } from "../analytics/report-templates/definition.js";
import { type ChangingDataset, changeColumns, changingDatasets } from "../db/datasets/changes.js";
import { datasetColumns, datasetNames, datasets } from "../db/datasets/index.js";
import type { Column } from "../exports/columns.js";
import { type Compression, compressions, hasZstd } from "../exports/compression.js";
import { csvDelimiters, csvNulls, defaultCsv } from "../exports/csv.js";
import { safeText } from "../safe-text.js";
import { dateOrders } from "../sources/imports/chat-dates.js";
import { columnsOf, importColumnNames } from "../sources/imports/columns.js";
import { encodings } from "../sources/imports/text-encoding.js";
import { changeCursor } from "./change-cursor.js";
import { notifyTargets } from "./notify-targets.js";

/**
 * What can be asked for, as the HTTP body says it. The same schema reads the parameters that a run's row has kept, so
 * a job sees what the caller wrote, with the account's zone filled in.
 */
const account = safeText(128);

const range = {
  from: metricsFields.from,
  to: metricsFields.to,
};

/** Of a column of type integer. */
const MAX_INTEGER = 2 ** 31 - 1;

export const endsAfterItStarts = (value: { from: Date; to: Date }, context: z.RefinementCtx) => {
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

const compression = z
  .enum(compressions)
  .refine((name) => name !== "zstd" || hasZstd, {
    error: "needs a server with Node 22.15 or later",
    params: { code: "not_available" },
  })
  .optional();

const optionsFitFormat = (
  value: { format: string; csv?: unknown; json?: unknown; compression?: Compression | undefined },
  context: z.RefinementCtx,
) => {
  if (value.format === "xlsx" && value.compression && value.compression !== "none")
    context.addIssue({
      code: "custom",
      path: ["compression"],
      message: "is not for the format xlsx, which is compressed already",
      params: { code: "other_format" },
    });
  for (const format of ["csv", "json"] as const)
    if (value[format] !== undefined && value.format !== format)
      context.addIssue({
        code: "custom",
        path: [format],
        message: `is only for the format ${format}`,
        params: { code: "other_format" },
      });
};

export const reportFormats = ["csv", "json", "ndjson", "xlsx", "html"] as const;

/** What numbers a report is about; whether its template uses all of it is the template's matter. */
export const reportFields = {
  ...range,
  time_zone: metricsFields.time_zone,
  interval: metricsFields.interval,
  basis: metricsFields.basis,
  groups: metricsFields.groups,
  responders: metricsFields.responders,
  clock: metricsFields.clock,
  hours: metricsFields.hours,
  group_by: metricsLists.group_by.prefault(["template"]),
  filters: metricsFields.filters,
};

export const namedTemplate = z.object({
  template: templateName,
  /** Of a custom template; the last one unless it is given, and from then on this one. */
  template_version: z.int().min(1).max(MAX_INTEGER).optional(),
});

export const reportRequest = z
  .strictObject({
    account_id: account,
    ...namedTemplate.shape,
    format: z.enum(reportFormats),
    csv: csvRequest.optional(),
    json: z.strictObject({ pretty: z.boolean().default(false) }).optional(),
    ...reportFields,
    locale: localeName.optional(),
    compression,
    notify: notifyTargets.optional(),
  })
  .superRefine(endsAfterItStarts)
  .superRefine(optionsFitFormat);
export type ReportRequest = z.output<typeof reportRequest>;

export const exportFormats = ["csv", "json", "ndjson", "xlsx", "parquet"] as const;
export type ExportFormat = (typeof exportFormats)[number];

const exportFields = {
  account_id: account,
  format: z.enum(exportFormats),
  csv: csvRequest.optional(),
  ...range,
  compression,
  notify: notifyTargets.optional(),
};

const someColumns = (columns: readonly Column[]) =>
  z
    .array(z.enum(columns.map(({ name }) => name) as [string, ...string[]]))
    .min(1)
    .refine((names) => new Set(names).size === names.length, {
      error: "names a column twice",
      params: { code: "duplicate_column" },
    })
    .optional();

const tableExport = <Name extends keyof typeof datasets>(name: Name) =>
  z.strictObject({
    ...exportFields,
    dataset: z.literal(name),
    columns: someColumns(datasets[name].columns),
    filters: filterFields(Object.keys(datasets[name].filters)).default({}),
  });

/** What has changed since a place in the order of commits, instead of a range. */
const changesExport = <Name extends ChangingDataset>(name: Name) => {
  const { from: _from, to: _to, ...fields } = exportFields;
  return z.strictObject({
    ...fields,
    dataset: z.literal(name),
    columns: someColumns(changeColumns[name]),
    since: changeCursor(name),
  });
};

const { metrics, group_by, filters, interval, basis, groups, responders, clock, hours, time_zone } =
  metricsFields;

/** What each dataset can be asked for by time. */
const rangeRequest = z
  .discriminatedUnion(
    "dataset",
    [
      tableExport("messages"),
      tableExport("events"),
      tableExport("conversations"),
      z.strictObject({
        ...exportFields,
        dataset: z.literal("contacts"),
        columns: someColumns(datasetColumns.contacts),
      }),
      z.strictObject({
        ...exportFields,
        dataset: z.literal("metrics"),
        ...{ metrics, group_by, filters, interval, basis, groups, responders, clock, hours, time_zone },
      }),
    ],
    { error: `must be one of ${datasetNames.join(", ")}` },
  )
  .superRefine(endsAfterItStarts)
  .superRefine(optionsFitFormat);

const changesRequest = z
  .discriminatedUnion("dataset", [changesExport("messages"), changesExport("events")], {
    error: `must be one of ${changingDatasets.join(", ")}: of others, changes are not known`,
  })
  .superRefine(optionsFitFormat);

export type RangeRequest = z.output<typeof rangeRequest>;
export type ChangesRequest = z.output<typeof changesRequest>;
export type ExportRequest = RangeRequest | ChangesRequest;

/** With `since` it is about changes, without it about a range. */
export const exportRequest = z
  .custom<Readonly<Record<string, unknown>>>()
  .transform((body, context): ExportRequest => {
    const schema =
      typeof body === "object" && body !== null && "since" in body ? changesRequest : rangeRequest;
    const parsed = schema.safeParse(body);
    if (parsed.success) return parsed.data;
    context.issues.push(...(parsed.error.issues as z.core.$ZodRawIssue[]));
    return z.NEVER;
  });

export const isAboutChanges = (request: ExportRequest): request is ChangesRequest => "since" in request;

export const aggregationRequest = z
  .strictObject({
    account_id: account,
    action: z.enum(["verify", "recompute", "backfill"]),
    from: range.from.optional(),
    to: range.to.optional(),
  })
  .superRefine((value, context) => {
    for (const path of ["from", "to"] as const)
      if (value.action === "backfill" && value[path])
        context.addIssue({
          code: "custom",
          path: [path],
          message: "is not for the action backfill, which folds all events",
          params: { code: "other_action" },
        });
    if (value.from && value.to) endsAfterItStarts({ from: value.from, to: value.to }, context);
  });
export type AggregationRequest = z.output<typeof aggregationRequest>;

export const importFormats = ["events", "messages", "chat"] as const;
const forTables = ["delimiter", "map", "null", "formula_guard"] as const;
const forChats = ["me", "date_order", "chat_id"] as const;

export const importRequest = z
  .strictObject({
    account_id: account,
    format: z.enum(importFormats),
    encoding: z.enum(encodings).optional(),
    time_zone: metricsFields.time_zone,
    channel_id: safeText(512).optional(),
    delimiter: z.enum(csvDelimiters).optional(),
    map: z.partialRecord(z.enum(importColumnNames as [string, ...string[]]), safeText(256)).optional(),
    null: z.enum(csvNulls).optional(),
    formula_guard: z.boolean().optional(),
    me: safeText(128).optional(),
    date_order: z.enum(dateOrders).optional(),
    chat_id: safeText(512).optional(),
  })
  .superRefine((value, context) => {
    const say = (path: string[], code: string, message: string) =>
      context.addIssue({ code: "custom", path, message, params: { code } });
    const isChat = value.format === "chat";
    for (const name of isChat ? forTables : forChats)
      if (value[name] !== undefined) say([name], "other_format", `is not for the format ${value.format}`);
    if (isChat && value.time_zone === undefined)
      say(["time_zone"], "required", "is required: a chat's times have no offset");
    if (isChat && value.me === undefined)
      say(["me"], "required", "is required: the name by which the business stands in the chat");
    for (const name of Object.keys(value.map ?? {}))
      if (value.format !== "chat" && !columnsOf(value.format).some((column) => column.name === name))
        say(["map", name], "other_format", `is no column of the format ${value.format}`);
  });
export type ImportRequest = z.output<typeof importRequest>;
